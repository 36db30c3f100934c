import type { ServedDevice } from '../device/index.ts';
import { isRunning, type MigrationState } from '../states/index.ts';
import type { Doorbells } from './doorbells.ts';
import type { Hold } from './hold.ts';
import type { OrphanedWrites } from './orphaned-writes.ts';
import type { ResetRun } from './reset-run.ts';

/** What decides whether the gates are open, and what they let through. */
export interface GatesOptions {
  readonly hold: Hold;
  readonly resets: ResetRun;
  /** Interrupts stay pending although the device may run. */
  readonly switchover: { readonly withheld: boolean };
  readonly state: () => MigrationState;
  readonly doorbells: Doorbells;
  readonly interrupts: ServedDevice['interrupts'];
  readonly orphans: OrphanedWrites;
}

/** What passes between a device and its VMM without being asked for: rings and late writes inward, interrupts outward. */
export class Gates {
  readonly #options: GatesOptions;

  constructor(options: GatesOptions) {
    this.#options = options;
  }

  /** Rings reach a device that runs, and that neither a hold nor a reset keeps from its VMM. */
  attendDoorbells(): void {
    const { doorbells, hold, resets, state } = this.#options;
    doorbells.listen(isRunning(state()) && !hold.active && !resets.underWay);
  }

  /** A device that does not run interrupts nobody (STOP, linux/vfio.h); one that is held interrupts after the hold. */
  releaseInterrupts(): void {
    const { hold, switchover, interrupts } = this.#options;
    if (!hold.active && !switchover.withheld) interrupts.release();
  }

  /** What a VMM wrote before it went reaches the device, unless a hold or a reset keeps it from that. */
  replayOrphans(): void {
    const { hold, resets, orphans } = this.#options;
    if (!hold.active && !resets.underWay) orphans.replay();
  }
}
