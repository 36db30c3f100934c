import type { Native } from '../native/index.ts';
import { deviceSetIrqs, IrqSetFlag } from '../protocol/index.ts';

const { DATA_NONE, DATA_BOOL, DATA_EVENTFD, ACTION_MASK, ACTION_UNMASK, ACTION_TRIGGER } = IrqSetFlag;

/** A DEVICE_SET_IRQS that sets up again what there is. The fds stay the table's. */
export interface IrqSetting {
  readonly payload: Uint8Array;
  readonly fds: readonly number[];
}

/** The fd of each vector; null: set up without one, which is how QEMU enables MSI-X before it has any. */
type Eventfds = Map<number, number | null>;

interface Index {
  readonly triggers: Eventfds;
  readonly unmasks: Eventfds;
  readonly masked: Set<number>;
}

/**
 * What the client has set up of a device's interrupts, with the eventfds that came with it.
 *
 * What a device masks by itself when it triggers (INTx, IrqInfoFlag.AUTOMASKED) is not seen here, and need not be: a
 * device whose level is still asserted triggers again when it is set up anew, and the UNMASK that the client sends
 * after an interrupt is harmless for a device that has not triggered.
 */
export class IrqTable {
  readonly #native: Native;
  readonly #indexes = new Map<number, Index>();
  #revision = 0;

  constructor(native: Native) {
    this.#native = native;
  }

  /** Another number whenever something else is set up. */
  get revision(): number {
    return this.#revision;
  }

  /** A DEVICE_SET_IRQS has been carried out. `fds` become the table's. */
  set(payload: Uint8Array, fds: readonly number[]): void {
    const { flags, index, start, count, data } = deviceSetIrqs.request.decode(payload, fds.length);
    const at = this.#index(index);
    if ((flags & DATA_EVENTFD) !== 0) {
      const eventfds = (flags & ACTION_TRIGGER) !== 0 ? at.triggers : at.unmasks;
      for (let i = 0; i < count; i += 1) this.#assign(eventfds, start + i, fds[i] ?? null);
    } else if ((flags & ACTION_TRIGGER) !== 0) {
      if (count === 0) this.#disable(at);
    } else {
      for (let i = 0; i < count; i += 1) {
        if ((flags & DATA_BOOL) !== 0 && data[i] === 0) continue;
        this.#mask(at.masked, start + i, (flags & ACTION_MASK) !== 0);
      }
    }
  }

  /** How many vectors are set up. */
  get vectors(): number {
    return [...this.#indexes.values()].reduce((sum, { triggers }) => sum + triggers.size, 0);
  }

  /** What sets everything up again, in order; `maxFds` in one message. */
  replays(maxFds: number): IrqSetting[] {
    return [...this.#indexes].flatMap(([index, { triggers, unmasks, masked }]) => [
      ...this.#assignments(index, ACTION_TRIGGER, triggers, maxFds),
      ...this.#assignments(index, ACTION_UNMASK, unmasks, maxFds),
      ...[...masked].map((vector) => ({
        payload: encode(DATA_NONE | ACTION_MASK, index, vector, 1),
        fds: [],
      })),
    ]);
  }

  /** What takes all of it back, as far as there was ever anything. */
  disables(): IrqSetting[] {
    return [...this.#indexes.keys()].map((index) => ({
      payload: encode(DATA_NONE | ACTION_TRIGGER, index, 0, 0),
      fds: [],
    }));
  }

  /** Forgets everything. */
  clear(): void {
    for (const index of this.#indexes.values()) this.#disable(index);
    this.#indexes.clear();
  }

  #index(number: number): Index {
    const known = this.#indexes.get(number);
    if (known !== undefined) return known;
    const fresh: Index = { triggers: new Map(), unmasks: new Map(), masked: new Set() };
    this.#indexes.set(number, fresh);
    return fresh;
  }

  /** An index is enabled by its first vector; without fd first, as the client has done it. */
  #assignments(index: number, action: number, eventfds: Eventfds, maxFds: number): IrqSetting[] {
    const flags = DATA_EVENTFD | action;
    const without = [...eventfds].filter(([, fd]) => fd === null).map(([vector]) => vector);
    const given = [...eventfds].flatMap(([vector, fd]) => (fd === null ? [] : [{ vector, fd }]));
    given.sort((a, b) => a.vector - b.vector);
    return [
      ...without.map((vector) => ({ payload: encode(flags, index, vector, 1), fds: [] })),
      ...runsOf(given, Math.max(1, maxFds)).map((run) => ({
        payload: encode(flags, index, run[0]?.vector ?? 0, run.length),
        fds: run.map(({ fd }) => fd),
      })),
    ];
  }

  #assign(eventfds: Eventfds, vector: number, fd: number | null): void {
    const before = eventfds.get(vector) ?? null;
    if (before !== null) this.#native.close(before);
    eventfds.set(vector, fd);
    this.#revision += 1;
  }

  /** A guest unmasks after each INTx interrupt, which changes nothing here. */
  #mask(masked: Set<number>, vector: number, wanted: boolean): void {
    if (masked.has(vector) === wanted) return;
    if (wanted) masked.add(vector);
    else masked.delete(vector);
    this.#revision += 1;
  }

  #disable({ triggers, unmasks, masked }: Index): void {
    this.#revision += 1;
    for (const fd of [...triggers.values(), ...unmasks.values()]) if (fd !== null) this.#native.close(fd);
    triggers.clear();
    unmasks.clear();
    masked.clear();
  }
}

interface Given {
  readonly vector: number;
  readonly fd: number;
}

/** Vectors that follow each other, `max` at most together. */
function runsOf(given: readonly Given[], max: number): Given[][] {
  const runs: Given[][] = [];
  for (const each of given) {
    const run = runs.at(-1);
    const follows = run !== undefined && run.length < max && run.at(-1)?.vector === each.vector - 1;
    if (follows) run.push(each);
    else runs.push([each]);
  }
  return runs;
}

function encode(flags: number, index: number, start: number, count: number): Uint8Array {
  const value = { argsz: 20, flags, index, start, count, data: new Uint8Array(0) };
  return deviceSetIrqs.request.encode(value);
}
