import { encodeHeader, HEADER_SIZE, littleEndian } from '../../protocol/index.ts';

/** Fields in the order of the wire: a number is a u32, a bigint a u64, bytes stay as they are. */
export function fields(...values: readonly (number | bigint | Uint8Array)[]): Uint8Array {
  const sizes = values.map((value) =>
    typeof value === 'object' ? value.length : typeof value === 'bigint' ? 8 : 4,
  );
  const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [index, value] of values.entries()) {
    if (typeof value === 'object') bytes.set(value, at);
    else if (typeof value === 'bigint') view.setBigUint64(at, BigInt.asUintN(64, value), littleEndian);
    else view.setUint32(at, value >>> 0, littleEndian);
    at += sizes[index] ?? 0;
  }
  return bytes;
}

/** The u32 at a place; 0 behind the end. */
export function u32At(bytes: Uint8Array, at: number): number {
  return at + 4 <= bytes.length ? viewOf(bytes).getUint32(at, littleEndian) : 0;
}

/** The u64 at a place; 0 behind the end. */
export function u64At(bytes: Uint8Array, at: number): bigint {
  return at + 8 <= bytes.length ? viewOf(bytes).getBigUint64(at, littleEndian) : 0n;
}

/** A whole message, as right or as wrong as it is asked for. */
export function rawMessage(
  command: number,
  payload: Uint8Array,
  { id = 0, flags = 0, error = 0, size = HEADER_SIZE + payload.length } = {},
): Uint8Array {
  return joined(encodeHeader({ messageId: id, command, size, flags, error }), payload);
}

/** The payload of VERSION; null: no JSON. The JSON may be anything. */
export function versionPayload(json: string | null, { major = 0, minor = 0, nul = true } = {}): Uint8Array {
  const head = new Uint8Array(4);
  viewOf(head).setUint16(0, major, littleEndian);
  viewOf(head).setUint16(2, minor, littleEndian);
  return json === null ? head : joined(head, new TextEncoder().encode(nul ? `${json}\0` : json));
}

/** Bytes one after the other. */
export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Whether two pieces of memory have the same bytes. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** A view of the whole of some bytes. */
export function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
