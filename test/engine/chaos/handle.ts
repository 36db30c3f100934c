import type { ClaimTicket, EndInspection, MigrationEnd, PrecopyEstimate } from '../../../src/engine/index.ts';
import { Errno, FerryError } from '../../../src/errors/index.ts';
import type { MigrationState } from '../../../src/states/index.ts';
import type { FakeEnd } from '../fake-end.ts';

/** A controller's connection to a device: it dies with the controller, and the device stays. */
export class Handle implements MigrationEnd {
  readonly name: string;
  readonly device: FakeEnd;
  /** Its controller is gone: nothing is asked any more, and nothing is answered. */
  dead = false;
  /** Every change of state is refused. */
  refusesSets = false;
  #late = false;

  constructor(device: FakeEnd) {
    this.name = device.name;
    this.device = device;
  }

  flags(): Promise<bigint | null> {
    return this.#ask(() => this.device.flags());
  }

  state(): Promise<number> {
    return this.#ask(() => this.device.state());
  }

  setState(state: MigrationState): Promise<void> {
    return this.#change(() => this.device.setState(state));
  }

  read(maxBytes: number, consume: (chunk: Uint8Array) => void): Promise<number> {
    return this.#change(() => this.device.read(maxBytes, consume));
  }

  write(bytes: Uint8Array): Promise<void> {
    return this.#change(() => this.device.write(bytes));
  }

  precopyInfo(): Promise<PrecopyEstimate | null> {
    return this.#change(() => this.device.precopyInfo());
  }

  dataSize(): Promise<bigint | null> {
    return this.#ask(() => this.device.dataSize());
  }

  reset(): Promise<void> {
    return this.#change(() => this.device.reset());
  }

  async inspect(): Promise<EndInspection> {
    const { instance } = this.device;
    return { ...(await this.#ask(() => this.device.inspect())), instance };
  }

  async claim(ticket: ClaimTicket): Promise<void> {
    await this.#ask(async () => this.device.claim?.(ticket));
    this.device.holder = this;
    this.#late = false;
  }

  retire(ticket: ClaimTicket): Promise<void> {
    return this.#change(async () => this.device.retire?.(ticket));
  }

  async release(ticket: ClaimTicket): Promise<void> {
    await this.#change(async () => this.device.release?.(ticket));
    this.device.holder = null;
  }

  /** Only who claimed last may; who claimed before that learns that it is late. */
  #change<T>(request: () => Promise<T>): Promise<T> {
    const { holder } = this.device;
    this.#late ||= holder !== null && holder !== this;
    if (this.refusesSets && !this.dead) return Promise.reject(refused('EIO', Errno.EIO));
    if (this.#late) return this.#ask(() => Promise.reject(refused('ESTALE', Errno.ESTALE)));
    return this.#ask(request);
  }

  #ask<T>(request: () => Promise<T>): Promise<T> {
    return this.dead ? new Promise(() => {}) : request();
  }
}

function refused(message: string, errno: number): FerryError {
  return new FerryError('ERR_REMOTE', message, { errno });
}
