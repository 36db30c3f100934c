import { type FileHandle, open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { ChannelError, messageOf } from './channel-error.ts';

/** Where a saved stream comes from. Calls don't overlap. */
export interface Source {
  /** For people. */
  readonly name: string;
  /** Reads at most `into.length` bytes; returns how many, 0 only at the end. */
  read(into: Uint8Array): Promise<number>;
  /** Goes back to the start; null when it can be read only once. */
  readonly rewind: (() => void) | null;
  close(): Promise<void>;
}

/** A file. What is no regular file, such as a named pipe, can be read only once. @throws ChannelError ERR_CHANNEL_FILE */
export async function fileSource(path: string): Promise<Source> {
  const file = await open(path, 'r').catch((cause) => unreadable(path, cause));
  const regular = await file.stat().then(
    (stat) => stat.isFile(),
    (cause) => unreadable(path, cause),
  );
  return regular ? regularSource(file, path) : pipeSource(file, path);
}

function regularSource(file: FileHandle, path: string): Source {
  let position = 0;
  return {
    name: path,
    read: async (into) => {
      const { bytesRead } = await file
        .read(into, 0, into.length, position)
        .catch((cause) => unreadable(path, cause));
      position += bytesRead;
      return bytesRead;
    },
    rewind: () => {
      position = 0;
    },
    close: () => file.close(),
  };
}

function pipeSource(file: FileHandle, path: string): Source {
  return {
    name: path,
    read: async (into) => {
      const { bytesRead } = await file
        .read(into, 0, into.length, null)
        .catch((cause) => unreadable(path, cause));
      return bytesRead;
    },
    rewind: null,
    close: () => file.close(),
  };
}

/** A stream such as standard input. */
export function streamSource(stream: Readable, name: string): Source {
  const chunks = stream[Symbol.asyncIterator]();
  let rest: Uint8Array = new Uint8Array(0);
  return {
    name,
    read: async (into) => {
      while (rest.length === 0) {
        const next: IteratorResult<unknown> = await chunks.next().catch((cause) => unreadable(name, cause));
        if (next.done === true) return 0;
        if (!(next.value instanceof Uint8Array)) return unreadable(name, 'it gives no bytes');
        rest = next.value;
      }
      const count = Math.min(rest.length, into.length);
      into.set(rest.subarray(0, count));
      rest = rest.subarray(count);
      return count;
    },
    rewind: null,
    close: async () => {
      stream.destroy();
    },
  };
}

/** Reads until `into` is full or there is no more; returns how many bytes. */
export async function readFully(source: Source, into: Uint8Array): Promise<number> {
  let filled = 0;
  while (filled < into.length) {
    const count = await source.read(into.subarray(filled));
    if (count === 0) break;
    filled += count;
  }
  return filled;
}

function unreadable(path: string, cause: unknown): never {
  const message = `cannot read ${path}: ${messageOf(cause)}`;
  throw new ChannelError('ERR_CHANNEL_FILE', message, { cause, context: { path } });
}
