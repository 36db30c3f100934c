import type { Json } from './json-field.ts';

/** Why a text was refused. */
export type JsonRefusal = 'is no JSON in UTF-8' | 'nests too deep';

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPENING: ReadonlySet<number> = new Set([0x5b, 0x7b]);
const CLOSING: ReadonlySet<number> = new Set([0x5d, 0x7d]);

/**
 * Parses JSON from a peer: strict UTF-8, at most `maxDepth` objects and arrays inside each other, which is found before
 * the parser is let loose on it. Calls `refuse` with the reason otherwise.
 */
export function parseJson(raw: Uint8Array, maxDepth: number, refuse: (reason: JsonRefusal) => never): Json {
  if (nesting(raw) > maxDepth) refuse('nests too deep');
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(raw));
  } catch {
    return refuse('is no JSON in UTF-8');
  }
}

/** How deep brackets nest outside strings. */
function nesting(raw: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < raw.length; i += 1) {
    const byte = raw[i] ?? 0;
    if (inString && byte === BACKSLASH) i += 1;
    else if (byte === QUOTE) inString = !inString;
    else if (!inString && OPENING.has(byte)) deepest = Math.max(deepest, ++depth);
    else if (!inString && CLOSING.has(byte)) depth -= 1;
  }
  return deepest;
}
