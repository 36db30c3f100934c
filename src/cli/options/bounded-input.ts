import { createReadStream } from 'node:fs';
import { Errno, FerryError } from '../../errors/index.ts';

/**
 * Reads a file, or standard input for `-`, to its end as UTF-8. Throws FerryError: EFBIG (ERR_INPUT_SIZE) as soon as
 * there are more than `limit` bytes, the system's errno (ERR_INPUT) when it can't be read.
 */
export async function readBounded(path: string, limit: number): Promise<string> {
  const stream = path === '-' ? process.stdin : createReadStream(path);
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of stream) {
      const bytes = Buffer.isBuffer(piece) ? piece : Buffer.from(String(piece));
      size += bytes.length;
      if (size > limit) {
        throw new FerryError('ERR_INPUT_SIZE', `${nameOf(path)} has more than ${limit} bytes`, {
          errno: Errno.EFBIG,
          context: { path, limit },
        });
      }
      pieces.push(bytes);
    }
  } catch (cause) {
    throw cause instanceof FerryError ? cause : unreadable(path, cause);
  } finally {
    stream.destroy();
  }
  return Buffer.concat(pieces).toString('utf8');
}

function unreadable(path: string, cause: unknown): FerryError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  const number = cause instanceof Error && 'errno' in cause ? Math.abs(Number(cause.errno)) : Errno.EIO;
  return new FerryError('ERR_INPUT', `${nameOf(path)} can't be read: ${reason}`, {
    errno: Number.isInteger(number) ? number : Errno.EIO,
    context: { path },
    cause,
  });
}

function nameOf(path: string): string {
  return path === '-' ? 'standard input' : path;
}
