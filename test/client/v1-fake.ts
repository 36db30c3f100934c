import { Errno } from '../../src/errors/index.ts';
import { fields, type RawMessage } from '../helpers/raw-client.ts';
import {
  type Cleanup,
  connectFake,
  type FakeServer,
  LIBVFIO_USER_JSON,
  memfd,
  native,
} from './fake-server.ts';

const PAGE = 4096;
/** Index of the migration region. */
export const REGION = 9;
const DEVICE_STATE = 0;
const PENDING_BYTES = 8;
const DATA_OFFSET = 16;
const DATA_SIZE = 24;

/** Which changes of state a server takes; all by default. */
export type Takes = (from: number, to: number) => boolean;

/**
 * A v1 server in bytes that does by the book what it is not told to do otherwise. Nothing of src/'s declarations is used.
 */
export class V1Fake {
  /** Bytes of the region. */
  size = BigInt(PAGE + 8192);
  /** What the type capability says. */
  type = [3, 1];
  /** Whether the data section can be mapped: an fd comes with the region info. */
  fd: number | null = null;
  state = 0b001;
  /** Bits 3 to 31 of device_state, which are others'. */
  reserved = 0;
  /** The pieces that are left to save. */
  pieces: Uint8Array[] = [];
  /** Pieces that were given. */
  received: Buffer[] = [];
  /** Answers to wide registers instead of the right ones. */
  lies: { pending?: bigint; offset?: bigint; size?: bigint } = {};
  takes: Takes = () => true;
  /** The errno of a refused change. */
  errno: number = Errno.EINVAL;
  /** Pieces are made as they are asked for, without end. */
  endless: Uint8Array | null = null;
  /** What was asked, such as `read pending_bytes`. */
  readonly log: string[] = [];
  readonly #section = Buffer.alloc(8192);
  #taken = false;

  /** Answers until the connection ends. */
  async play(server: FakeServer): Promise<void> {
    for (;;) {
      const message: RawMessage = await server.next();
      const payload = Buffer.from(message.payload);
      const answer = this.#answer(message.command, payload);
      if (typeof answer === 'number') server.refuse(message, answer);
      else server.answer(message, answer, this.#fdFor(message.command, payload));
    }
  }

  #fdFor(command: number, payload: Buffer): readonly number[] | null {
    return command === 5 && payload.readUInt32LE(8) === REGION && this.fd !== null ? [this.fd] : null;
  }

  #answer(command: number, payload: Buffer): Buffer | number {
    switch (command) {
      case 4:
        return fields(16, 3, 10, 5);
      case 5:
        return this.#info(payload.readUInt32LE(8));
      case 7:
        return fields(16, 1, payload.readUInt32LE(8), 0);
      case 9:
        return this.#read(payload);
      case 10:
        return this.#write(payload);
      case 13:
        return this.#reset();
      default:
        return Errno.EINVAL;
    }
  }

  #info(index: number): Buffer {
    if (index !== REGION) return fields(32, 0, index, 0, 0n, 0n);
    const [type = 0, subtype = 0] = this.type;
    if (this.fd === null) {
      return fields(...[48, 1 | 2 | 8, index, 32, this.size, 0n], ...[0x1_0002, 0, type, subtype]);
    }
    return fields(
      ...[80, 1 | 2 | 4 | 8, index, 32, this.size, 0n],
      ...[0x1_0002, 48, type, subtype],
      ...[0x1_0001, 0, 1, 0, BigInt(PAGE), this.size - BigInt(PAGE)],
    );
  }

  #reset(): Buffer {
    this.log.push('reset');
    this.state = 0b001;
    return Buffer.alloc(0);
  }

  #read(payload: Buffer): Buffer | number {
    const offset = Number(payload.readBigUInt64LE(0));
    const count = payload.readUInt32LE(12);
    const value = this.#valueAt(offset, count);
    return value === null ? Errno.EINVAL : Buffer.concat([payload.subarray(0, 16), value]);
  }

  #valueAt(offset: number, count: number): Buffer | null {
    if (offset === DEVICE_STATE && count === 4) {
      this.log.push('read device_state');
      return fields((this.reserved | this.state) >>> 0);
    }
    if (offset >= PAGE) {
      this.log.push(`read ${count} bytes`);
      return Buffer.from(this.#piece().subarray(offset - PAGE, offset - PAGE + count));
    }
    return count === 8 ? this.#wideAt(offset) : null;
  }

  #wideAt(offset: number): Buffer | null {
    if (offset === PENDING_BYTES) {
      this.log.push('read pending_bytes');
      if (this.#taken) this.pieces.shift();
      this.#taken = false;
      if (this.endless !== null) this.pieces = [this.endless];
      const left = this.pieces.reduce((sum, { length }) => sum + length, 0);
      return fields(this.lies.pending ?? BigInt(left));
    }
    if (offset === DATA_OFFSET) {
      this.log.push('read data_offset');
      if (this.fd !== null) this.#fill(this.fd);
      return fields(this.lies.offset ?? BigInt(PAGE));
    }
    if (offset !== DATA_SIZE) return null;
    this.log.push('read data_size');
    this.#taken = this.pieces.length > 0;
    return fields(this.lies.size ?? BigInt(this.#piece().length));
  }

  #fill(fd: number): void {
    const piece = this.#piece();
    native.pwrite(fd, piece, 0, piece.length, PAGE);
  }

  #piece(): Uint8Array {
    return this.pieces[0] ?? new Uint8Array(0);
  }

  #write(payload: Buffer): Buffer | number {
    const offset = Number(payload.readBigUInt64LE(0));
    const data = payload.subarray(16);
    if (offset === DEVICE_STATE) return this.#change(payload, data.readUInt32LE());
    if (offset === DATA_SIZE) this.#consume(Number(data.readBigUInt64LE()));
    else {
      this.log.push(`write ${data.length} bytes`);
      this.#section.set(data, offset - PAGE);
    }
    return payload.subarray(0, 16);
  }

  #consume(size: number): void {
    this.log.push(`write data_size ${size}`);
    if (this.fd !== null) native.pread(this.fd, this.#section, 0, size, PAGE);
    this.received.push(Buffer.from(this.#section.subarray(0, size)));
  }

  #change(payload: Buffer, value: number): Buffer | number {
    this.log.push(`write device_state 0x${value.toString(16)}`);
    if (!this.takes(this.state, value & 7)) return this.errno;
    this.state = value & 7;
    this.reserved = (value & ~7) >>> 0;
    return payload.subarray(0, 16);
  }
}

/** Connects a client to a fake. */
export async function connectV1(cleanup: Cleanup, fake: V1Fake, json = LIBVFIO_USER_JSON) {
  const { client, server } = await connectFake(cleanup, json, { timeoutMs: 5000 });
  fake.play(server).catch(() => {});
  return client;
}

/** Gives a fake a data section that can be mapped. */
export function mappable(cleanup: Cleanup, fake: V1Fake): void {
  const fd = memfd(Number(fake.size));
  fake.fd = fd;
  cleanup.add(() => native.close(fd));
}
