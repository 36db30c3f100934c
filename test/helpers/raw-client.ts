import { Errno } from '../../src/errors/index.ts';
import { loadNative, type WatchHandle } from '../../src/native/index.ts';

const native = loadNative();

/** One message as it came: nothing is interpreted but the header. */
export interface RawMessage {
  readonly id: number;
  readonly command: number;
  readonly flags: number;
  readonly error: number;
  readonly payload: Uint8Array;
  readonly fds: readonly number[];
}

/** QEMU's proposal, byte for byte (recorded from QEMU 11.1.3). */
export const QEMU_VERSION_JSON =
  '{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "max_data_xfer_size": 1048576, "migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "write_multiple": true}}';

/**
 * A client that knows nothing but bytes: headers by hand, no use of the protocol's declarations, so that a mistake in
 * those can't hide in both ends.
 */
export class RawClient {
  readonly fd: number;
  #buffer = Buffer.alloc(0);
  #messages: RawMessage[] = [];
  #fds: number[] = [];
  #waiting: (() => void)[] = [];
  #watch: WatchHandle;
  #nextId = 1;
  /** Whether the connection is over, by either side. */
  closed = false;
  #released = false;

  constructor(fd: number) {
    this.fd = fd;
    const watch = native.watchStart(fd, () => this.#read());
    if (typeof watch === 'number') throw new Error(`watch: ${watch}`);
    this.#watch = watch;
  }

  static connect(path: string): RawClient {
    const fd = native.connect(path);
    if (fd < 0) throw new Error(`connect ${path}: errno ${-fd}`);
    return new RawClient(fd);
  }

  /** Connects and negotiates; the JSON is the capabilities that are proposed. */
  static async open(path: string, json = QEMU_VERSION_JSON): Promise<RawClient> {
    const client = RawClient.connect(path);
    try {
      const reply = await client.request(1, versionPayload(0, 0, json));
      if (reply.error === 0 && (reply.flags & 0x20) === 0) return client;
      throw new Error(`VERSION refused: errno ${reply.error}`);
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** Sends bytes as they are, all at once: they must fit into the socket. */
  send(bytes: Uint8Array, fds: readonly number[] | null = null): void {
    const sent = native.send(this.fd, bytes, 0, bytes.length, null, 0, 0, fds);
    if (sent !== bytes.length) throw new Error(`send took ${sent} of ${bytes.length} bytes`);
  }

  /** Sends bytes of any number; the server, which may share this thread, reads meanwhile. */
  async stream(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      const sent = native.send(this.fd, bytes, at, bytes.length - at, null, 0, 0, null);
      if (sent < 0 && sent !== -Errno.EAGAIN) throw new Error(`send: errno ${-sent}`);
      at += Math.max(0, sent);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Sends a command and returns its id. */
  post(
    command: number,
    payload: Uint8Array = Buffer.alloc(0),
    flags = 0,
    fds: readonly number[] | null = null,
  ): number {
    const id = this.#nextId;
    this.#nextId = (this.#nextId + 1) & 0xffff;
    this.send(rawMessage(id, command, payload, flags), fds);
    return id;
  }

  /** Sends a command and waits for the message with its id. */
  async request(
    command: number,
    payload?: Uint8Array,
    fds: readonly number[] | null = null,
  ): Promise<RawMessage> {
    const id = this.post(command, payload, 0, fds);
    return this.reply(id);
  }

  /** Waits for the reply with this id. */
  reply(id: number, timeoutMs = 60_000): Promise<RawMessage> {
    return this.next((message) => message.id === id && (message.flags & 0xf) === 1, timeoutMs);
  }

  /** Waits for the next message that fits. */
  async next(fits: (message: RawMessage) => boolean = () => true, timeoutMs = 60_000): Promise<RawMessage> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const index = this.#messages.findIndex(fits);
      const [found] = index < 0 ? [] : this.#messages.splice(index, 1);
      if (found !== undefined) return found;
      if (this.closed) throw new Error('the server closed the connection');
      const left = deadline - Date.now();
      if (left <= 0) throw new Error('no message in time');
      await this.#arrival(left);
    }
  }

  /** Whether a message that fits arrives within `ms`. */
  async receives(fits: (message: RawMessage) => boolean, ms: number): Promise<boolean> {
    return this.next(fits, ms).then(
      () => true,
      () => false,
    );
  }

  /** Waits until the server has closed. */
  async waitClosed(timeoutMs = 60_000): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (!this.closed) {
      if (Date.now() > deadline) throw new Error('the server did not close the connection');
      await this.#arrival(50);
    }
  }

  /** Gives everything back, also after the server has closed. Idempotent. */
  close(): void {
    this.closed = true;
    if (this.#released) return;
    this.#released = true;
    native.watchClose(this.#watch);
    native.close(this.fd);
    for (const fd of this.#fds) native.close(fd);
    for (const message of this.#messages) for (const fd of message.fds) native.close(fd);
  }

  #arrival(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#waiting.push(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #read(): void {
    const chunk = new Uint8Array(256 * 1024);
    const fds = new Int32Array(254);
    const count = native.receive(this.fd, chunk, 0, chunk.length, fds, 0);
    if (count === -Errno.EAGAIN) return;
    if (count <= 0) {
      this.closed = true;
      native.watchClose(this.#watch);
    } else {
      this.#fds.push(...fds.subarray(1, 1 + (fds[0] ?? 0)));
      this.#buffer = Buffer.concat([this.#buffer, chunk.subarray(0, count)]);
      this.#cut();
    }
    for (const wake of this.#waiting.splice(0)) wake();
  }

  #cut(): void {
    while (this.#buffer.length >= 16) {
      const size = this.#buffer.readUInt32LE(4);
      // A header that no message has: nothing can be cut any more, and a test that waits is told so.
      if (size < 16) this.closed = true;
      if (size < 16 || this.#buffer.length < size) return;
      const raw = this.#buffer.subarray(0, size);
      this.#buffer = this.#buffer.subarray(size);
      const last = this.#buffer.length === 0;
      this.#messages.push({
        id: raw.readUInt16LE(0),
        command: raw.readUInt16LE(2),
        flags: raw.readUInt32LE(8),
        error: raw.readUInt32LE(12),
        payload: Uint8Array.from(raw.subarray(16)),
        fds: last ? this.#fds.splice(0) : [],
      });
    }
  }
}

/** A whole message. */
export function rawMessage(id: number, command: number, payload: Uint8Array, flags = 0, error = 0): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt16LE(id, 0);
  header.writeUInt16LE(command, 2);
  header.writeUInt32LE(16 + payload.length, 4);
  header.writeUInt32LE(flags, 8);
  header.writeUInt32LE(error, 12);
  return Buffer.concat([header, payload]);
}

/** The payload of VERSION; null: no JSON. */
export function versionPayload(
  major: number,
  minor: number,
  json: string | null = QEMU_VERSION_JSON,
): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16LE(major, 0);
  head.writeUInt16LE(minor, 2);
  return json === null ? head : Buffer.concat([head, Buffer.from(`${json}\0`)]);
}

/** Fields in order: a number is a u32, a bigint a u64, bytes stay as they are. */
export function fields(...values: readonly (number | bigint | Uint8Array)[]): Buffer {
  return Buffer.concat(
    values.map((value) => {
      if (typeof value === 'object') return value;
      const field = Buffer.alloc(typeof value === 'bigint' ? 8 : 4);
      if (typeof value === 'bigint') field.writeBigUInt64LE(value);
      else field.writeUInt32LE(value >>> 0);
      return field;
    }),
  );
}
