import type { FakeClock } from './fake-clock.ts';
import { FakeEnd } from './fake-end.ts';
import type { Fault } from './fake-faults.ts';

export interface WorldOptions {
  readonly sourceFlags?: bigint | null;
  readonly destinationFlags?: bigint | null;
  /** Chunks in PRE_COPY, then in STOP_COPY. */
  readonly preCopyChunks?: number;
  readonly stopCopyChunks?: number;
  readonly estimates?: boolean;
  /** False: the servers know no claims. */
  readonly claims?: boolean;
  /** Calls of all worlds of a group, in order. */
  readonly calls?: Call[];
  /** Appended to the names of the ends. */
  readonly suffix?: string;
  readonly faults?: ReadonlyMap<number, Fault>;
}

export interface Call {
  readonly end: string;
  readonly what: string;
}

/** Two devices, everything that was asked of them, and what may never be. */
export class World {
  readonly clock: FakeClock;
  readonly calls: Call[];
  readonly faults: ReadonlyMap<number, Fault>;
  readonly source: FakeEnd;
  readonly destination: FakeEnd;
  /** The worst that was ever seen. */
  violation: string | null = null;
  /** Called after every change, for whoever looks at several worlds. */
  onCheck: () => void = () => {};
  #passing = false;

  constructor(clock: FakeClock, options: WorldOptions = {}) {
    this.clock = clock;
    this.calls = options.calls ?? [];
    this.faults = options.faults ?? new Map();
    const suffix = options.suffix ?? '';
    const chunks = { pre: options.preCopyChunks ?? 2, stop: options.stopCopyChunks ?? 2 };
    const estimates = options.estimates ?? true;
    const flags = options.sourceFlags === undefined ? 7n : options.sourceFlags;
    const otherFlags = options.destinationFlags === undefined ? 7n : options.destinationFlags;
    this.source = new FakeEnd(this, `source${suffix}`, flags, 'the guest', chunks, estimates);
    this.destination = new FakeEnd(this, `destination${suffix}`, otherFlags, null, chunks, estimates);
    if (options.claims === false) return;
    this.source.knowClaims();
    this.destination.knowClaims();
  }

  /** Somebody waits in vain: timers become due, one after another, until everything else has come to rest. */
  letTimePass(): void {
    if (this.#passing) return;
    this.#passing = true;
    const turn = (): void => {
      if (this.clock.step()) setImmediate(turn);
      else this.#passing = false;
    };
    setImmediate(turn);
  }

  /** Looks at both devices at once, as nobody inside can. */
  check(): void {
    this.onCheck();
    if (!this.source.runsGuest || !this.destination.runsGuest) return;
    this.violation ??= `both run after ${this.calls.length} calls`;
  }
}
