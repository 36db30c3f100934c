import { isRunning, MigrationFlag, MigrationState, parseState } from '../states/index.ts';
import type { Backend } from './backend.ts';
import { migrationFlags, setState, stateOf } from './backend-calls.ts';
import { ProxyError } from './proxy-error.ts';

/** The old back end in a swap: it hands its state over and stands still, or goes on as if nothing had been. */
export class Predecessor {
  readonly backend: Backend;
  #flags = 0;
  #runs = false;
  /** It has been told to leave RUNNING. */
  #moved = false;
  /** What it has been told and has not answered: nothing may overtake it. */
  readonly #pending = new Set<Promise<void>>();

  constructor(backend: Backend) {
    this.backend = backend;
  }

  /** Whether its state can be read while it runs. */
  get copiesAhead(): boolean {
    return this.#runs && (this.#flags & MigrationFlag.PRE_COPY) !== 0;
  }

  /** Asks how it migrates. `fresh`: its state is not wanted. @throws ProxyError */
  async prepare(fresh: boolean): Promise<void> {
    this.#flags = await migrationFlags(this.backend);
    if (fresh) return;
    if (this.#flags !== 0) return this.#endSession();
    const what = `${this.backend.path} does not offer migration (v2), so its state stays where it is`;
    throw new ProxyError('ERR_BACKEND', what);
  }

  /** Its state can be read from here on, and it runs. @throws ProxyError */
  async beginAhead(): Promise<void> {
    await this.#set(MigrationState.PRE_COPY);
  }

  /** It stands still, and the rest of its state can be read; `fresh`: it is stopped, if it can be. @throws ProxyError */
  async stop(fresh: boolean): Promise<void> {
    if (this.#flags === 0) return;
    await this.#set(fresh ? MigrationState.STOP : MigrationState.STOP_COPY);
  }

  /** Its state has been read. That it dies now does not matter any more. @throws ProxyError */
  async finish(): Promise<void> {
    if (this.backend.link.closed) return;
    try {
      await this.#set(MigrationState.STOP);
    } catch (error) {
      if (!this.backend.link.closed) throw error;
    }
  }

  /** It runs again, if it has been told not to and is there. @throws what keeps it from running */
  async goOn(): Promise<void> {
    await Promise.allSettled(this.#pending);
    if (!this.#moved || this.backend.link.closed) return;
    try {
      await setState(this.backend, MigrationState.RUNNING);
    } catch (error) {
      const state = await stateOf(this.backend).then(parseState, () => null);
      if (state === null || !isRunning(state)) throw error;
    }
  }

  /** A swap whose client went away may have left a data session open, and a part of the state has been read there. */
  async #endSession(): Promise<void> {
    const state = await stateOf(this.backend);
    if (state === MigrationState.STOP_COPY) await setState(this.backend, MigrationState.STOP);
    const ahead = state === MigrationState.PRE_COPY || state === MigrationState.PRE_COPY_P2P;
    if (ahead) await setState(this.backend, MigrationState.RUNNING);
    // One that stands still is not made to run for this: PRE_COPY is reached by way of RUNNING.
    this.#runs = ahead || state === MigrationState.RUNNING;
  }

  async #set(state: MigrationState): Promise<void> {
    this.#moved = true;
    const told = setState(this.backend, state);
    this.#pending.add(told);
    try {
      await told;
    } finally {
      this.#pending.delete(told);
    }
  }
}
