import { Buffer } from 'node:buffer';
import type { FieldNode } from './field-node.ts';

/** Bytes shown in hex before they are only counted. */
const SHOWN = 32;

/** Raw data from `at` to `end`. */
export function bytesNode(name: string, key: string, bytes: Uint8Array, at: number, end: number): FieldNode {
  const value = bytes.subarray(at, end);
  return { key, name, offset: at, size: end - at, value, text: printBytes(value), parts: [], children: [] };
}

/** A text from `at` to `end`, without the NUL and what follows it. */
export function textNode(name: string, key: string, bytes: Uint8Array, at: number, end: number): FieldNode {
  const raw = bytes.subarray(at, end);
  const length = raw.indexOf(0);
  const value = new TextDecoder().decode(length < 0 ? raw : raw.subarray(0, length));
  return { key, name, offset: at, size: end - at, value, text: value, parts: [], children: [] };
}

/** Several fields that belong together. */
export function groupNode(
  name: string,
  key: string,
  offset: number,
  size: number,
  children: readonly FieldNode[],
): FieldNode {
  const text = children.map((child) => `${child.name}=${child.text}`).join(' ');
  return { key, name, offset, size, value: null, text, parts: [], children };
}

/** Bytes as lower-case hex; a long run is cut, and its length named. */
export function printBytes(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, SHOWN)).toString('hex');
  return bytes.length > SHOWN ? `${hex}..(${bytes.length} bytes)` : hex;
}
