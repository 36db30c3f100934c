import { FerryError } from '../errors/index.ts';
import { isRunning, MigrationState } from '../states/index.ts';
import { ServerError } from './server-error.ts';

/** What becomes of the state of a device when its VMM comes back: it is kept, or the VMM resets it as it likes. */
export type OnReconnect = 'keep' | 'reset';

/** What the server can do to its device for a state that is kept. */
export interface KeptDevice<Party> {
  /** The configuration space as it is now. */
  configuration(): Uint8Array;
  /** The migration state; null for a device that has none. */
  state(): MigrationState | null;
  /** Takes a device that runs to STOP, which ends its DMA. @throws ServerError */
  stop(by: Party): void | Promise<void>;
  /** Sets it running. @throws ServerError */
  run(by: Party): void | Promise<void>;
  /** Makes sure that `by` may do this to the device. @throws ServerError */
  require(operation: 'run' | 'reset', by: Party): void;
  /** Resets it. @throws ServerError */
  reset(by: Party): void | Promise<void>;
  /** Writes to the configuration space. */
  configure(offset: number, bytes: Uint8Array): void;
  /** Keeps the VMM's accesses waiting; false: they wait already. */
  beginHold(): boolean;
  endHold(): void;
  /** The VMM that has come is told of interrupts that the one before may have lost. */
  raiseAgain(): void;
}

/** What is told of a state that is kept. */
export interface KeptView {
  /** When it was left, in milliseconds since 1970. */
  readonly sinceMs: number;
  /** Resets that were not carried out. */
  readonly withheldResets: number;
  /** A VMM has come for it. */
  readonly returned: boolean;
  /** The configuration space as it was left. */
  readonly configuration: Uint8Array;
}

interface Kept {
  readonly sinceMs: number;
  readonly configuration: Uint8Array;
  /** The hold is ours to end. */
  holding: boolean;
  /** The device stands still because of us, and nobody has moved it since. */
  stopped: boolean;
  returned: boolean;
  withheldResets: number;
  /** What the VMM has written to the configuration space since its last reset, by place and length. */
  readonly writes: Map<string, { readonly offset: number; readonly bytes: Uint8Array }>;
}

/**
 * Keeps the state of a device for a VMM that comes back (docs/ownership.md). From the moment the VMM goes away the
 * device stands still, and whoever comes can't reset it, until the control side has decided. Knows no sockets: a
 * `Party` is whoever asks.
 */
export class Reconnection<Party> {
  policy: OnReconnect;
  readonly #device: KeptDevice<Party>;
  #kept: Kept | null = null;
  /** A VMM has been there: there is something to keep. */
  #used = false;

  constructor(policy: OnReconnect, device: KeptDevice<Party>) {
    this.policy = policy;
    this.#device = device;
  }

  /** The state that is kept, or null. */
  get view(): KeptView | null {
    return this.#kept;
  }

  /** Whether the resets of the VMM that is there are withheld. */
  get withholding(): boolean {
    return this.#kept?.returned === true;
  }

  /** The VMM has gone, and what it owned is still there: the device comes to rest first. Never fails. */
  parted(by: Party): void | Promise<void> {
    if (this.#kept !== null) {
      this.#kept.returned = false;
      this.#kept.writes.clear();
    } else if (this.policy === 'keep') {
      return this.#begin(by);
    }
  }

  /** A VMM is there. */
  returned(): void {
    this.#used = true;
    if (this.#kept !== null) this.#kept.returned = true;
  }

  /**
   * Chooses to keep. That begins at once where no VMM is there, but one was, or a controller has taken the device out of
   * RUNNING to give it a state: the next one to come is the one that comes back.
   */
  keep(by: Party, absent: boolean): void | Promise<void> {
    this.policy = 'keep';
    const state = this.#device.state();
    const given = state !== null && state !== MigrationState.RUNNING;
    if (absent && this.#kept === null && (this.#used || given)) return this.#begin(by);
  }

  /** Chooses to let a VMM reset, and resets a state that is kept. @throws ServerError */
  reset(by: Party): void | Promise<void> {
    const kept = this.#kept;
    if (kept === null) {
      this.policy = 'reset';
      return;
    }
    this.#device.require('reset', by);
    this.policy = 'reset';
    return then(this.#device.reset(by), () => {
      for (const { offset, bytes } of kept.writes.values()) this.#device.configure(offset, bytes);
      this.#end(kept);
    });
  }

  /** Lets the state go on with the VMM that has come back. @throws ServerError */
  continue(by: Party): void | Promise<void> {
    const kept = this.#kept;
    if (kept?.returned !== true) throw nothingToContinue(kept !== null);
    this.#device.require('run', by);
    if (!kept.stopped) {
      this.#device.raiseAgain();
      return this.#end(kept);
    }
    return then(this.#device.run(by), () => this.#end(kept));
  }

  /** The VMM has asked for a reset that is withheld. */
  noteReset(): void {
    if (this.#kept === null) return;
    this.#kept.withheldResets += 1;
    this.#kept.writes.clear();
  }

  /** The VMM has written to the configuration space: a reset by the control side comes before that, as the VMM sees it. */
  noteWrite(offset: number, bytes: Uint8Array): void {
    if (this.#kept?.returned !== true) return;
    const { writes } = this.#kept;
    const place = `${offset}+${bytes.length}`;
    writes.delete(place);
    writes.set(place, { offset, bytes: bytes.slice() });
  }

  /** The control side has moved the device: where it stands is its business from now on. */
  moved(to: MigrationState): void {
    const kept = this.#kept;
    if (kept === null) return;
    kept.stopped = false;
    kept.holding = false;
    if (!kept.returned || !isRunning(to)) return;
    this.#kept = null;
    this.#device.raiseAgain();
  }

  /** The control side has reset the device: there is nothing to keep. */
  gone(): void {
    this.#kept = null;
  }

  #begin(by: Party): void | Promise<void> {
    const state = this.#device.state();
    const kept: Kept = {
      sinceMs: Date.now(),
      configuration: this.#device.configuration(),
      ...{ holding: false, stopped: false, returned: false, withheldResets: 0 },
      writes: new Map(),
    };
    this.#kept = kept;
    const rest = (stopped: boolean): void => {
      kept.stopped = stopped;
      kept.holding = this.#device.beginHold();
    };
    if (state === null) return rest(false);
    if (!isRunning(state)) return;
    try {
      // Somebody else may drive the device; then where it stands is not ours to choose.
      return this.#device.stop(by)?.then(() => rest(true), ignoreRefusal) ?? rest(true);
    } catch (error) {
      ignoreRefusal(error);
    }
  }

  #end(kept: Kept): void {
    this.#kept = null;
    if (kept.holding) this.#device.endHold();
  }
}

function then(work: void | Promise<void>, next: () => void): void | Promise<void> {
  return work === undefined ? next() : work.then(next);
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof FerryError)) throw error;
}

function nothingToContinue(kept: boolean): ServerError {
  const why = kept ? 'no VMM has come back for the state that is kept' : 'no state is kept';
  return new ServerError('ERR_WRONG_STATE', why);
}
