import type { MigrationLimits } from './limits.ts';
import type { Phase } from './phase.ts';

/** What is known of a migration that goes on. */
export interface MigrationStatus {
  readonly phase: Phase;
  /** Bytes of state moved so far. */
  readonly bytes: number;
  /** Bytes left as far as known; null when nobody can tell. */
  readonly remaining: number | null;
  /** Bytes per second lately. */
  readonly rate: number;
  /** The round of PRE_COPY, from 1; 0 outside of it. */
  readonly iteration: number;
  readonly elapsedMs: number;
  /** How long the blackout would be now, in milliseconds; null when that can't be told. */
  readonly estimatedDowntimeMs: number | null;
  /** It waits before the switch because it was told to. */
  readonly waiting: boolean;
  readonly limits: MigrationLimits;
}

/** The limits that may be changed while it runs. */
export type ChangeableLimits = Partial<Pick<MigrationLimits, 'downtimeMs' | 'bytesPerSecond'>>;

/** What a control acts on; the engine's own. */
export interface Controlled {
  status(): MigrationStatus;
  limitsChanged(limits: MigrationLimits): void;
}

/**
 * A caller's hand on a migration while it runs: made before, given to it in the options. Whatever is set before it
 * starts holds from the start.
 */
export class MigrationControl {
  #limits: ChangeableLimits = {};
  #base: MigrationLimits | null = null;
  #controlled: Controlled | null = null;
  #holding = false;
  #open: (() => void) | null = null;
  readonly #abort = new AbortController();

  /** How it goes; null before it has started. */
  status(): MigrationStatus | null {
    return this.#controlled?.status() ?? null;
  }

  /** Changes limits from now on. */
  setLimits(limits: ChangeableLimits): void {
    this.#limits = { ...this.#limits, ...limits };
    if (this.#base !== null) this.#controlled?.limitsChanged(this.limits(this.#base));
  }

  /** Has it wait before the guest is stopped, going on with rounds of PRE_COPY, until {@link resume}. */
  pauseBeforeSwitch(): void {
    this.#holding = true;
  }

  /** Lets it switch. */
  resume(): void {
    this.#holding = false;
    this.#open?.();
  }

  /** Cancels it: the source runs on. Without effect once the decision is made. */
  cancel(): void {
    this.#abort.abort();
    this.#open?.();
  }

  /** Aborted by {@link cancel}. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** The engine's: whether it is to wait before the switch. */
  get holding(): boolean {
    return this.#holding;
  }

  /** The engine's: what it is told from now on. */
  attach(controlled: Controlled, base: MigrationLimits): void {
    this.#controlled = controlled;
    this.#base = base;
  }

  /** The engine's: the limits that hold now. */
  limits(base: MigrationLimits): MigrationLimits {
    return { ...base, ...(this.#limits.downtimeMs === undefined ? {} : { strict: true }), ...this.#limits };
  }

  /** The engine's: resolves when it need not wait any longer. */
  released(): Promise<void> {
    if (!this.#holding || this.signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      this.#open = () => {
        this.#open = null;
        resolve();
      };
    });
  }
}
