/** Bytes of a dirty bitmap over `length` bytes: a bit per page, rounded up to whole u64 words. */
export function bitmapSize(length: bigint, pageSize: bigint): bigint {
  const pages = (length + pageSize - 1n) / pageSize;
  return ((pages + 63n) / 64n) * 8n;
}
