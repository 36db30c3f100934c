import { setupWrites } from '../../engine/index.ts';
import { decodeConfig } from '../registers.ts';

/** A part of configuration space. */
export interface Span {
  readonly offset: number;
  readonly length: number;
}

/** The header of type 0 (PCI Local Bus 3.0, 6.1). */
const HEADER = 64;
/** The head of a capability and its control word. */
const HEAD = 4;
/** Accesses to configuration space are words. */
const WORD = 4;

/**
 * The parts of a configuration space like `config` that say which device it is, how its capabilities are laid out, and all
 * that is set up in it, in whole words: as few as possible, in order.
 */
export function setupSpans(config: Uint8Array): readonly Span[] {
  const words = new Set<number>();
  const add = (offset: number, length: number): void => {
    for (let at = offset - (offset % WORD); at < offset + length; at += WORD) words.add(at);
  };
  add(0, HEADER);
  for (const { offset, extended } of decodeConfig(config).capabilities) if (!extended) add(offset, HEAD);
  for (const { offset, bytes } of setupWrites(config, config, 0)) add(offset, bytes.length);
  return runsOf([...words].sort((a, b) => a - b));
}

function runsOf(words: readonly number[]): readonly Span[] {
  const runs: { offset: number; length: number }[] = [];
  for (const word of words) {
    const last = runs.at(-1);
    if (last !== undefined && last.offset + last.length === word) last.length += WORD;
    else runs.push({ offset: word, length: WORD });
  }
  return runs;
}
