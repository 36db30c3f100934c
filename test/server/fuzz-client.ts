import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { rawMessage, versionPayload } from '../helpers/raw-client.ts';
import { mutate, type Random } from './fuzz-messages.ts';

const native = loadNative();

const REPLY = 1;
const ERROR_REPLY = 0x21;
/** Commands of the server that wait for an answer; more are forgotten, as a client might. */
const MOST_ASKED = 16;

/** A client that says anything and looks at what it is told only as far as its form goes. */
export class FuzzClient {
  readonly fd: number;
  readonly #into = new Uint8Array(256 * 1024);
  readonly #fds = new Int32Array(254);
  /** What the server wants of this client's memory. */
  readonly #asked: Buffer[] = [];
  #rest = Buffer.alloc(0);
  #ended = false;
  /** The second socket, on which the server asks. */
  #twin: FuzzClient | null = null;
  replies = 0;

  /** Connects to a path, or takes a socket that is connected. */
  constructor(to: string | number) {
    this.fd = typeof to === 'number' ? to : native.connect(to);
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
    this.#twin?.drain();
    while (!this.#ended) {
      const count = native.receive(this.fd, this.#into, 0, this.#into.length, this.#fds, 0);
      if (count === -Errno.EAGAIN) return;
      for (const fd of this.#fds.subarray(1, 1 + (this.#fds[0] ?? 0))) this.#take(fd);
      if (count <= 0) this.#ended = true;
      else this.#cut(this.#into.subarray(0, count));
    }
  }

  /** Answers to what the server has asked, in any order, some wrong and some twice; those for the twin socket are sent. */
  answers(random: Random): Buffer[] {
    for (const answer of this.#twin?.answers(random) ?? []) this.#twin?.send(answer);
    const answers: Buffer[] = [];
    while (this.#asked.length > 0 && !random.once(4)) {
      const [asked] = this.#asked.splice(random.below(this.#asked.length), 1);
      if (asked === undefined) break;
      const answer = answerTo(asked, random);
      answers.push(answer, ...(random.once(10) ? [answer] : []));
    }
    return answers;
  }

  close(): void {
    if (this.fd >= 0) native.close(this.fd);
    this.#ended = true;
    this.#twin?.close();
  }

  /** The first descriptor before the first reply is the second socket, if any is. */
  #take(fd: number): void {
    if (this.#twin !== null || this.replies > 0) native.close(fd);
    else this.#twin = new FuzzClient(fd);
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
      if ((flags & 0xf) === 0 && this.#asked.length < MOST_ASKED)
        this.#asked.push(Buffer.from(buffer.subarray(0, size)));
      this.replies += 1;
      buffer = buffer.subarray(size);
    }
    this.#rest = Buffer.from(buffer);
  }
}

/** An answer to DMA_READ or DMA_WRITE: right, an error, or with something wrong. */
function answerTo(asked: Buffer, random: Random): Buffer {
  const [id, command] = [asked.readUInt16LE(0), asked.readUInt16LE(2)];
  if (random.once(10))
    return rawMessage(id, command, Buffer.alloc(0), ERROR_REPLY, random.pick([5, 14, 22, 5000]));
  const count = command === 11 && asked.length >= 32 ? asked.readUInt32LE(24) : 0;
  const data = Buffer.alloc(Math.min(count, 0x1_0000), 0x5a);
  const answer = rawMessage(id, command, Buffer.concat([asked.subarray(16, 32), data]), REPLY);
  return random.once(3) ? mutate(random, answer) : answer;
}
