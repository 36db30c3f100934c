import { rmSync } from 'node:fs';
import { loadNative, type WatchHandle } from '../../src/native/index.ts';
import { RawClient, type RawMessage, rawMessage } from '../helpers/raw-client.ts';

const native = loadNative();

/** How a request is ill served: an errno, no answer at all, or the connection is ended; `wait`: not before the release. */
export type Sabotage = 'refuse' | 'hang' | 'close' | 'lie' | 'wait';

/** Which request of a connection is ill served: the `nth` with this command, from 1. */
export interface Target {
  readonly command: number;
  readonly nth: number;
  readonly how: Sabotage;
  /** With which a request is refused; EIO by default. */
  readonly errno?: number;
}

const ERROR_REPLY = 0x21;
const EIO = 5;
/** DEVICE_FEATURE, its feature MIGRATION, and the flag of that for PRE_COPY. */
const FEATURE = 16;
const MIGRATION = 1;
const FLAGS_AT = 8;
const PRE_COPY = 4;

/**
 * Stands before a server and passes everything on, in bytes, but ill serves one request. Knows nothing of the proxy's
 * code. A `lie` carries the request out and says that it was refused.
 */
export class Saboteur {
  readonly path: string;
  /** Commands that have come over the connection that is there, in order. */
  seen: number[] = [];
  /** From now on: null, nothing. */
  target: Target | null = null;
  /** The server seems to migrate without PRE_COPY. */
  hidesPreCopy = false;
  /** A request was left without an answer. */
  swallowed = false;
  /** Passes on what waits; null while nothing does. */
  release: (() => void) | null = null;
  readonly #server: string;
  readonly #listener: number;
  readonly #watch: WatchHandle;
  readonly #ends = new Set<RawClient>();

  constructor(path: string, server: string) {
    this.path = path;
    this.#server = server;
    this.#listener = native.listen(path, 0o600, 4);
    if (this.#listener < 0) throw new Error(`listen: ${this.#listener}`);
    const watch = native.watchStart(this.#listener, () => this.#accept());
    if (typeof watch === 'number') throw new Error(`watch: ${watch}`);
    this.#watch = watch;
  }

  close(): void {
    this.cut();
    native.watchClose(this.#watch);
    native.close(this.#listener);
    rmSync(this.path, { force: true });
  }

  /** Ends every connection, as a server does that dies. */
  cut(): void {
    for (const end of this.#ends) end.close();
    this.#ends.clear();
  }

  #accept(): void {
    const fd = native.accept(this.#listener);
    if (fd < 0) return;
    const near = new RawClient(fd);
    const far = RawClient.connect(this.#server);
    this.#ends.add(near).add(far);
    this.seen = [];
    void this.#run(near, (message) => this.#request(message, near, far), far);
    void this.#run(far, (message) => pass(this.#seen(message), near), near);
  }

  async #run(from: RawClient, each: (message: RawMessage) => void, other: RawClient): Promise<void> {
    try {
      for (;;) each(await from.next(undefined, 60_000));
    } catch {
      from.close();
      other.close();
    }
  }

  #seen(message: RawMessage): RawMessage {
    const { command, payload } = message;
    const told = Buffer.from(payload);
    if (!this.hidesPreCopy || command !== FEATURE || told.length < 16) return message;
    if ((told.readUInt32LE(4) & 0xffff) === MIGRATION) told[FLAGS_AT] = (told[FLAGS_AT] ?? 0) & ~PRE_COPY;
    return { ...message, payload: told };
  }

  #request(message: RawMessage, near: RawClient, far: RawClient): void {
    const { target } = this;
    if ((message.flags & 0xf) !== 0) return pass(message, far);
    this.seen.push(message.command);
    const count = this.seen.filter((command) => command === message.command).length;
    if (target === null || target.command !== message.command || target.nth !== count) {
      return pass(message, far);
    }
    if (target.how === 'wait') {
      this.release = () => pass(message, far);
      return;
    }
    if (target.how === 'close') this.cut();
    if (target.how === 'lie') {
      // The server's own answer has another id, which nobody waits for.
      far.send(rawMessage(0xffff, message.command, message.payload, message.flags));
    }
    this.swallowed = target.how === 'hang';
    if (target.how !== 'hang' && target.how !== 'close')
      near.send(rawMessage(message.id, message.command, Buffer.alloc(0), ERROR_REPLY, target.errno ?? EIO));
    for (const fd of message.fds) native.close(fd);
  }
}

function pass({ id, command, payload, flags, error, fds }: RawMessage, to: RawClient): void {
  if (!to.closed) to.send(rawMessage(id, command, payload, flags, error), fds.length > 0 ? fds : null);
  for (const fd of fds) native.close(fd);
}
