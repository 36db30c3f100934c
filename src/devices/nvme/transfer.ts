import type { GuestMemory } from './guest-memory.ts';
import { all, chain, type Later, orElse } from './later.ts';
import { PrpStep, PrpWalk } from './prp.ts';
import { Status } from './status.ts';

/** The guest memory of one command's data. Every step is a status, or the promise of one. */
export class Transfer {
  /** The memory itself, segment by segment, after {@link map}. */
  readonly views: Uint8Array[] = [];
  readonly #guest: GuestMemory;
  readonly #walk = new PrpWalk();

  constructor(guest: GuestMemory) {
    this.#guest = guest;
  }

  /** How many segments there are after {@link locate}. */
  get count(): number {
    return this.#walk.count;
  }

  /** Finds `length` bytes of data: follows PRP entry 1, entry 2 and lists. */
  locate(prp1: bigint, prp2: bigint, length: number, pageSize: number): Later<number> {
    const step = this.#walk.begin(prp1, prp2, length, pageSize);
    if (step !== PrpStep.NEEDS_LIST) return step;
    return orElse(Status.DATA_TRANSFER_ERROR, () => this.#follow(step));
  }

  /** Takes {@link views} of all segments; false when some can't be had. Use them at once. */
  map(): boolean {
    const { addresses, lengths, count } = this.#walk;
    for (let i = 0; i < count; i++) {
      const view = this.#guest.view(addresses[i] ?? 0n, lengths[i] ?? 0);
      if (view === null) return false;
      this.views[i] = view;
    }
    return true;
  }

  /** The views have been written. */
  written(): void {
    const { addresses, lengths, count } = this.#walk;
    for (let i = 0; i < count; i++) this.#guest.markDirty(addresses[i] ?? 0n, lengths[i] ?? 0);
  }

  /** Gives `data` to the guest. */
  send(data: Uint8Array): Later<number> {
    return this.#move((address, at, length) => this.#guest.write(address, data.subarray(at, at + length)));
  }

  /** Takes the guest's data into `target`. */
  receive(target: Uint8Array): Later<number> {
    return this.#move((address, at, length) => this.#guest.read(address, target.subarray(at, at + length)));
  }

  #move(act: (address: bigint, at: number, length: number) => Later<void>): Later<number> {
    const { addresses, lengths, count } = this.#walk;
    let next = 0;
    return orElse(Status.DATA_TRANSFER_ERROR, () =>
      chain(
        all(count, (i) => {
          const at = next;
          next += lengths[i] ?? 0;
          return act(addresses[i] ?? 0n, at, lengths[i] ?? 0);
        }),
        () => Status.SUCCESS,
      ),
    );
  }

  #follow(step: number): Later<number> {
    let current = step;
    while (current === PrpStep.NEEDS_LIST) {
      const list = this.#guest.view(this.#walk.listAddress, this.#walk.listLength);
      if (list === null) return this.#fetch();
      current = this.#walk.feed(list);
    }
    return current;
  }

  #fetch(): Later<number> {
    const list = new Uint8Array(this.#walk.listLength);
    return chain(this.#guest.read(this.#walk.listAddress, list), () => this.#follow(this.#walk.feed(list)));
  }
}
