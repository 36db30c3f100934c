import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

type Discard = () => void;

/** Oldest first. */
const remains = new Set<Discard>();

/**
 * Notes something that would outlive this process: `discard` ends or removes it without waiting. It is called when the
 * process exits before the function that this returns was. A process that ends by a signal has no exit of that kind:
 * see {@link discardRemains}.
 */
export function wouldRemain(discard: Discard): () => void {
  if (remains.size === 0) process.on('exit', discardRemains);
  remains.add(discard);
  return () => {
    remains.delete(discard);
    if (remains.size === 0) process.off('exit', discardRemains);
  };
}

/** Ends and removes at once whatever would outlive this process: servers that were started, files of theirs. */
export function discardRemains(): void {
  for (const discard of [...remains].toReversed()) discard();
  remains.clear();
  process.off('exit', discardRemains);
}

/** A folder of its own among the temporary ones. */
export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'ferry-check-'));
  const discard = (): void => rmSync(path, { recursive: true, force: true });
  const forget = wouldRemain(discard);
  return {
    path,
    remove: () => {
      discard();
      forget();
    },
  };
}
