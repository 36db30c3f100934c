import { settle } from '../helpers/served.ts';

/** Waits until a condition holds; fails after 20 s. */
export async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('it never became true');
    await settle(1);
  }
}
