import { Errno, FerryError } from '../errors/index.ts';

/** The positive errno and the name of what the operating system has said; null for any other error. */
export function systemErrno(error: unknown): { readonly errno: number; readonly name: string } | null {
  if (!(error instanceof Error) || !('code' in error) || !('errno' in error)) return null;
  const errno = typeof error.errno === 'number' ? Math.abs(error.errno) : Errno.EIO;
  return { errno, name: String(error.code) };
}

/** What the operating system has said about a file, as a FerryError; anything else as it is. */
export function fileError(path: string, error: unknown): unknown {
  const system = systemErrno(error);
  if (system === null) return error;
  const message = error instanceof Error ? error.message : system.name;
  return new FerryError('ERR_FILE', message, { errno: system.errno, context: { path }, cause: error });
}
