import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Writable } from 'node:stream';
import { ChannelError, messageOf } from './channel-error.ts';

/** Where a saved stream goes. Calls don't overlap; after an error only `discard` follows. */
export interface Sink {
  /** For people. */
  readonly name: string;
  /** Writes all of `bytes`, which may be reused when it resolves. */
  write(bytes: Uint8Array): Promise<void>;
  /** Makes what was written last: after this it is there, whatever happens. */
  finish(): Promise<void>;
  /** Leaves nothing behind, as far as that can be. */
  discard(): Promise<void>;
}

/**
 * A file that appears under its name only when it is whole and on the disk. Until then what was written is in a file
 * next to it, which only its owner may read: it holds a guest's memory.
 * @throws ChannelError ERR_CHANNEL_FILE
 */
export async function fileSink(path: string): Promise<Sink> {
  if ((await stat(path).catch(() => null))?.isDirectory()) throw failure('write', path, 'it is a folder');
  const draft = join(dirname(path), `.${basename(path)}.${randomBytes(6).toString('hex')}`);
  const { O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW } = constants;
  const file = await attempt('write', path, () =>
    open(draft, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600),
  );
  return {
    name: path,
    write: (bytes) => attempt('write', path, () => writeAll(file, bytes)),
    finish: () =>
      attempt('write', path, async () => {
        await file.sync();
        await file.close();
        await rename(draft, path);
        await syncFolder(dirname(path));
      }),
    discard: async () => {
      await file.close().catch(() => {});
      await rm(draft, { force: true });
    },
  };
}

/** A pipe or any other stream; what has been written to it can't be taken back. */
export function streamSink(stream: Writable, name: string): Sink {
  let broken: Error | null = null;
  stream.on('error', (error) => {
    broken = error;
  });
  const done = (call: (settle: (error?: Error | null) => void) => void): Promise<void> =>
    attempt('write', name, () => {
      if (broken !== null) throw broken;
      return new Promise<void>((resolve, reject) => {
        // A stream that was destroyed without an error calls nothing back.
        const closed = (): void => reject(new Error('it was closed'));
        stream.once('close', closed);
        call((error) => {
          stream.off('close', closed);
          if (error) reject(error);
          else resolve();
        });
      });
    });
  return {
    name,
    write: (bytes) => done((settle) => stream.write(bytes, settle)),
    finish: () => done((settle) => stream.end(settle)),
    discard: async () => {
      stream.destroy();
    },
  };
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, at, bytes.length - at);
    at += bytesWritten;
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  await folder.sync().finally(() => folder.close());
}

async function attempt<T>(what: string, path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw failure(what, path, messageOf(cause), cause);
  }
}

function failure(what: string, path: string, why: string, cause?: unknown): ChannelError {
  return new ChannelError('ERR_CHANNEL_FILE', `cannot ${what} ${path}: ${why}`, { cause, context: { path } });
}
