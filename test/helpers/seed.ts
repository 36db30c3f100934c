/**
 * Where chance begins in tests: the same for everyone, so that a change is judged by itself alone. `FERRY_FUZZ_SEED` names
 * another; with `random` each run tries what no run has tried before.
 */
export const SEED = seedFrom(process.env['FERRY_FUZZ_SEED']);

function seedFrom(text: string | undefined): number {
  if (text === 'random') return Math.floor(Math.random() * 2 ** 31);
  return Number(text ?? 20_261_120);
}
