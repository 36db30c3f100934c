import { Control } from '../native/index.ts';
import type { SocketBuffers } from './reactor.ts';

/** How hard a reactor tries to answer the next request before it goes to sleep. */
export interface SpinOptions {
  /** How long to look for the next message after one was handled, in microseconds; 0 never spins. */
  readonly spinMicroseconds?: number;
  /** How long one connection may keep the thread to itself, in microseconds. */
  readonly budgetMicroseconds?: number;
}

/** Spinning pays on two cores (a wake-up costs 20 to 40 us there) and backs off by itself where it does not. */
const DEFAULT_SPIN_US = 20;
/** Timers and other connections run at least this often, however busy one connection is. */
const DEFAULT_BUDGET_US = 500;

/** Prepares the buffers of a socket for the addon: it may receive anything, and spin as the options say. */
export function steer({ rx, control }: SocketBuffers, options: SpinOptions): void {
  control[Control.RX_OFFSET] = 0;
  control[Control.RX_LENGTH] = rx.length;
  control[Control.SPIN_US] = options.spinMicroseconds ?? DEFAULT_SPIN_US;
  control[Control.BUDGET_US] = options.budgetMicroseconds ?? DEFAULT_BUDGET_US;
}
