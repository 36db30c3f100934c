import { MigrationState, migrationMachine, parseState } from '../../../states/index.ts';

/** The flags that the model has: all. */
export const MODEL_FLAGS = 7;

const { STOP_COPY, RESUMING, PRE_COPY, PRE_COPY_P2P, RUNNING, STOP } = MigrationState;
const machine = migrationMachine(MODEL_FLAGS);

/** How much state the model has: enough for several reads of a client that takes little at a time. */
const STATE_BYTES = 10_000;

/** The migration of the model: its states, and a state that is a row of bytes. */
export class MigrationModel {
  state: MigrationState = RUNNING;
  logging = false;
  #left = 0;
  #loaded = 0;

  /** Goes to a state by the arcs of the uAPI; false when there is no way, and then nothing has changed. */
  go(to: number): boolean {
    const target = parseState(to);
    if (target === null || !machine.has(target)) return false;
    if (target === this.state) return true;
    if (!this.#hasWay(target) || (this.state === RESUMING && this.#loaded === 0)) return false;
    if (target === STOP_COPY || (target === PRE_COPY && this.state !== PRE_COPY_P2P))
      this.#left = STATE_BYTES;
    if (target === RESUMING) this.#loaded = 0;
    this.state = target;
    return true;
  }

  /** The reset of the uAPI. */
  reset(): void {
    this.state = RUNNING;
    this.logging = false;
  }

  /** The next piece of the state, of at most `size` bytes; null: not in this state. */
  read(size: number): Uint8Array | null {
    if (![STOP_COPY, PRE_COPY, PRE_COPY_P2P].some((each) => each === this.state)) return null;
    const length = Math.min(size, this.#left);
    this.#left -= length;
    return new Uint8Array(length).fill(0x5a);
  }

  /** Takes a piece of a state; false: not in this state. */
  write(length: number): boolean {
    if (this.state !== RESUMING) return false;
    this.#loaded += length;
    return true;
  }

  /** Whether commands are refused as libvfio-user does while its device is stopped. */
  get stopped(): boolean {
    return this.state === STOP || this.state === STOP_COPY;
  }

  #hasWay(to: MigrationState): boolean {
    try {
      machine.path(this.state, to);
      return true;
    } catch {
      return false;
    }
  }
}
