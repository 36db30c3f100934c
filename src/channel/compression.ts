import * as zlib from 'node:zlib';
import { FrameFlag } from './frame.ts';

type Done = (error: Error | null, result: Uint8Array) => void;

/** A way to compress, run on the thread pool. */
export interface Compression {
  readonly name: 'deflate' | 'zstd';
  /** The flag of its frames. */
  readonly flag: number;
  compress(data: Uint8Array, done: Done): void;
  /** Fails when the result would have more than `size` bytes, before memory is taken for more. */
  decompress(data: Uint8Array, size: number, done: Done): void;
}

const deflate: Compression = {
  name: 'deflate',
  flag: FrameFlag.DEFLATE,
  compress: (data, done) => zlib.deflateRaw(data, { level: 1 }, done),
  decompress: (data, size, done) => zlib.inflateRaw(data, { maxOutputLength: size }, done),
};

type ZlibCall = (data: Uint8Array, options: object, done: Done) => void;

/** A function of node:zlib that older versions of Node lack. */
function zlibCall(name: string): ZlibCall | null {
  const call: unknown = Reflect.get(zlib, name);
  return typeof call === 'function'
    ? (data, options, done) => Reflect.apply(call, zlib, [data, options, done])
    : null;
}

/** ZSTD_c_compressionLevel of zstd.h. */
const ZSTD_LEVEL = 100;

function zstd(): Compression | null {
  const compress = zlibCall('zstdCompress');
  const decompress = zlibCall('zstdDecompress');
  if (compress === null || decompress === null) return null;
  return {
    name: 'zstd',
    flag: FrameFlag.ZSTD,
    compress: (data, done) => compress(data, { params: { [ZSTD_LEVEL]: 1 } }, done),
    decompress: (data, size, done) => decompress(data, { maxOutputLength: size }, done),
  };
}

/** zstd, where this Node has it (22.15 and later). */
export const zstdIfThere: Compression | null = zstd();

/** The fastest that both sides have. */
export function chooseCompression(bothHaveZstd: boolean): Compression {
  return (bothHaveZstd ? zstdIfThere : null) ?? deflate;
}

/** The one whose flag a frame has; null when this Node lacks it. */
export function compressionOf(flag: number): Compression | null {
  return flag === deflate.flag ? deflate : zstdIfThere;
}
