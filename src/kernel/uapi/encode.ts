import type { Fields, Struct, StructValue } from '../../protocol/index.ts';

/** A structure as bytes, with room for `more` behind it. */
export function encode<F extends Fields>(struct: Struct<F>, value: StructValue<F>, more = 0): Uint8Array {
  const bytes = new Uint8Array(struct.size + more);
  struct.write(viewOf(bytes), 0, value);
  return bytes;
}

/** The structure at the beginning of what the kernel has filled in. */
export function decode<F extends Fields>(struct: Struct<F>, bytes: Uint8Array, at = 0): StructValue<F> {
  return struct.read(viewOf(bytes), at);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
