import { setTimeout as delay } from 'node:timers/promises';

/** Long enough for any machine: only what never happens fails. */
const LIMIT_MS = 60_000;

/** Lets the event loop turn until a condition holds; fails, naming what it waited for, if it never does. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what = 'what the test waits for',
): Promise<void> {
  for (const deadline = Date.now() + LIMIT_MS; !(await condition()); await delay(1)) {
    if (Date.now() > deadline) throw new Error(`in vain: ${what}`);
  }
}
