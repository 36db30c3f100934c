import type { Log } from '../device/index.ts';
import type { Connection, Reactor } from '../transport/index.ts';
import type { Hold } from './hold.ts';
import { HoldClock } from './hold-clock.ts';
import { heldTooLong, type ServerError } from './server-error.ts';

/** What a {@link HoldKeeper} is made of. */
export interface HoldKeeperOptions {
  readonly hold: Hold;
  readonly reactor: Reactor;
  readonly log: Log;
  /** Milliseconds that a command may wait. */
  readonly limitMs: number;
  /** The VMM's connection, or null. */
  readonly main: () => Connection | null;
  readonly report: (error: ServerError) => void;
  /** The hold is over: what it kept back may pass. */
  readonly over: () => void;
}

/** Begins and ends the hold of a device, and sees to it that no VMM waits in it for too long. */
export class HoldKeeper {
  readonly #options: HoldKeeperOptions;
  readonly #clock: HoldClock;

  constructor(options: HoldKeeperOptions) {
    const { reactor, limitMs, main } = options;
    this.#options = options;
    this.#clock = new HoldClock({
      ...{ reactor, limitMs, waitingSince: () => main()?.heldSince ?? null },
      expired: () => this.#expire(),
    });
  }

  /** Keeps the VMM from the device; false when it is kept from it already. */
  begin(): boolean {
    const { hold, log } = this.#options;
    if (!hold.begin()) return false;
    log.info('the device is held');
    this.#clock.start();
    return true;
  }

  /** The VMM may go on. */
  end(): void {
    const { hold, log, over } = this.#options;
    if (!hold.end()) return;
    log.info('the device is held no more');
    this.#clock.stop();
    over();
  }

  /** Nobody looks at the clock any more. */
  stop(): void {
    this.#clock.stop();
  }

  /** Whatever waits is answered, and so is what comes: accesses with EBUSY, what concerns only the VMM as usual. */
  #expire(): void {
    const { hold, report, main } = this.#options;
    hold.expired = true;
    report(heldTooLong());
    main()?.release();
  }
}
