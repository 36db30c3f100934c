import { closeSync, openSync, writeSync } from 'node:fs';
import { RecordWriter, recordingStart, type SocketRole, type TraceEvent } from '../../trace/index.ts';

/** Bytes that are gathered before they are written. */
const BATCH = 256 * 1024;

/** Writes a recording. What fails is told once; nobody's connection suffers from a full disk. */
export class Recorder {
  readonly #fd: number;
  readonly #writer = new RecordWriter();
  /** Why it could not be written; null while it can. */
  failure: Error | null = null;

  /** Begins the file, which is replaced. @throws the system's error */
  constructor(path: string, application: string, sockets: Readonly<Record<SocketRole, string>>) {
    this.#fd = openSync(path, 'w', 0o600);
    for (const block of recordingStart(application, sockets)) this.#write(block);
  }

  add(event: TraceEvent): void {
    this.#writer.add(event);
    if (this.#writer.size >= BATCH) this.flush();
  }

  /** Writes what has been gathered. */
  flush(): void {
    if (this.#writer.size > 0) this.#write(this.#writer.take());
  }

  close(): void {
    this.flush();
    closeSync(this.#fd);
  }

  /** A disk that is nearly full takes a part, and says why only to the next write. */
  #write(bytes: Uint8Array): void {
    if (this.failure !== null) return;
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    } catch (error) {
      this.failure = error instanceof Error ? error : new Error(String(error));
    }
  }
}
