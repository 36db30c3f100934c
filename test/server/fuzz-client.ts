import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { rawMessage, versionPayload } from '../helpers/raw-client.ts';

const native = loadNative();

/** A client that says anything and looks at what it is told only as far as its form goes. */
export class FuzzClient {
  readonly fd: number;
  readonly #into = new Uint8Array(256 * 1024);
  readonly #fds = new Int32Array(254);
  #rest = Buffer.alloc(0);
  #ended = false;
  replies = 0;

  constructor(path: string) {
    this.fd = native.connect(path);
    if (this.fd < 0) this.#ended = true;
  }

  /** Whether there is nobody to talk to any more. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Says VERSION; the reply is looked at like any other. */
  greet(json: string | null): void {
    this.send(rawMessage(0, 1, versionPayload(0, 0, json)));
  }

  /** Sends bytes, with fds if there are any; a server that takes no more ends the connection. */
  send(bytes: Uint8Array, fds: readonly number[] | null = null): void {
    if (this.#ended || bytes.length === 0) return;
    const sent = native.send(this.fd, bytes, 0, bytes.length, null, 0, 0, fds);
    if (sent !== bytes.length) this.#ended = true;
  }

  /** Takes in what has come. Throws when it has not the form of messages. */
  drain(): void {
    while (!this.#ended) {
      const count = native.receive(this.fd, this.#into, 0, this.#into.length, this.#fds, 0);
      if (count === -Errno.EAGAIN) return;
      for (const fd of this.#fds.subarray(1, 1 + (this.#fds[0] ?? 0))) native.close(fd);
      if (count <= 0) this.#ended = true;
      else this.#cut(this.#into.subarray(0, count));
    }
  }

  close(): void {
    if (this.fd >= 0) native.close(this.fd);
    this.#ended = true;
  }

  #cut(bytes: Uint8Array): void {
    let buffer = this.#rest.length === 0 ? Buffer.from(bytes) : Buffer.concat([this.#rest, bytes]);
    while (buffer.length >= 16) {
      const size = buffer.readUInt32LE(4);
      const flags = buffer.readUInt32LE(8);
      if (size < 16 || size > 2 * 1024 * 1024) throw new Error(`a message of ${size} bytes came`);
      if ((flags & 0xf) > 1 || (flags & 0x20 && size !== 16))
        throw new Error(`flags 0x${flags.toString(16)}, ${size} bytes`);
      if (buffer.length < size) break;
      this.replies += 1;
      buffer = buffer.subarray(size);
    }
    this.#rest = Buffer.from(buffer);
  }
}
