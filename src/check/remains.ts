import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { LastWill } from './last-will.ts';

/** What would outlive this process, as {@link LastWill} has to know it: nothing, or a group of processes, or a path. */
type Bequest = { readonly group: number } | { readonly path: string } | null;

interface Entry {
  readonly discard: () => void;
  /** The line in the will; null: it has none. */
  readonly willed: string | null;
}

/** Oldest first. */
const remains = new Set<Entry>();
let will: LastWill | null = null;

/**
 * Notes something that would outlive this process: `discard` ends or removes it without waiting. It is called when the
 * process exits before the function that this returns was. A process that ends by a signal has no exit of that kind:
 * see {@link discardRemains}; for one that is killed, `bequest` says what another process has to end or remove, and `noted`
 * is called when that is certain.
 */
export function wouldRemain(
  discard: () => void,
  bequest: Bequest = null,
  noted: () => void = () => {},
): () => void {
  if (remains.size === 0) process.on('exit', discardRemains);
  const entry = { discard, willed: lineFor(bequest) };
  remains.add(entry);
  if (entry.willed === null) noted();
  else {
    will ??= new LastWill();
    will.add(entry.willed, noted);
  }
  return () => forget(entry);
}

/** A path with a line break can't be told. */
function lineFor(bequest: Bequest): string | null {
  if (bequest === null) return null;
  if ('group' in bequest) return String(bequest.group);
  return bequest.path.includes('\n') ? null : resolve(bequest.path);
}

function forget(entry: Entry): void {
  if (!remains.delete(entry)) return;
  if (entry.willed !== null) will?.drop(entry.willed);
  if (remains.size === 0) nothingRemains();
}

function nothingRemains(): void {
  process.off('exit', discardRemains);
  will?.end();
  will = null;
}

/** Ends and removes at once whatever would outlive this process: servers that were started, files of theirs. */
export function discardRemains(): void {
  for (const { discard } of [...remains].toReversed()) discard();
  remains.clear();
  nothingRemains();
}

/** A folder of its own among the temporary ones. */
export function temporaryFolder(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), 'ferry-check-'));
  const discard = (): void => rmSync(path, { recursive: true, force: true });
  const forgetFolder = wouldRemain(discard, { path });
  return {
    path,
    remove: () => {
      discard();
      forgetFolder();
    },
  };
}
