import { closeSync, openSync, writevSync } from 'node:fs';
import type { SocketRole, TraceEvent } from '../../trace/index.ts';
import { recordEvent, recordingStart } from '../../trace/index.ts';

/** Blocks that are gathered before they are written. */
const BATCH = 64;

/** Writes a recording. What fails is told once; nobody's connection suffers from a full disk. */
export class Recorder {
  readonly #fd: number;
  #blocks: Uint8Array[] = [];
  /** Why it could not be written; null while it can. */
  failure: Error | null = null;

  /** Begins the file, which is replaced. @throws the system's error */
  constructor(path: string, application: string, sockets: Readonly<Record<SocketRole, string>>) {
    this.#fd = openSync(path, 'w', 0o600);
    this.#blocks = recordingStart(application, sockets);
    this.flush();
  }

  add(event: TraceEvent): void {
    this.#blocks.push(...recordEvent(event));
    if (this.#blocks.length >= BATCH) this.flush();
  }

  /** Writes what has been gathered. */
  flush(): void {
    const blocks = this.#blocks;
    this.#blocks = [];
    if (blocks.length === 0 || this.failure !== null) return;
    try {
      writeAll(this.#fd, blocks);
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error));
    }
  }

  close(): void {
    this.flush();
    closeSync(this.#fd);
  }
}

/** A disk that is nearly full takes a part, and says why only to the next write. */
function writeAll(fd: number, blocks: readonly Uint8Array[]): void {
  let rest = blocks;
  while (rest.length > 0) rest = after(rest, writevSync(fd, rest));
}

function after(blocks: readonly Uint8Array[], written: number): readonly Uint8Array[] {
  let left = written;
  let i = 0;
  for (; i < blocks.length && left >= (blocks[i]?.length ?? 0); i += 1) left -= blocks[i]?.length ?? 0;
  const [first, ...rest] = blocks.slice(i);
  return first === undefined ? [] : [first.subarray(left), ...rest];
}
