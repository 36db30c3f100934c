import { check, type Native } from '../native/index.ts';
import { struct, u16, u32 } from '../protocol/index.ts';
import { damagedRecord, HandoverError } from './handover-error.ts';
import { MAX_FDS, MAX_RECORD, MAX_RECORD_FDS, PROTOCOL_VERSION, StateHead } from './layout.ts';

/** Everything of a device that has stopped. */
export interface ParcelContent {
  /** HELLO, as the process that had the device would say it. */
  readonly hello: Uint8Array;
  /** STATE, and what it announces. */
  readonly head: Uint8Array;
  readonly record: Uint8Array;
  readonly fds: readonly number[];
  readonly data: readonly Uint8Array[];
}

/** `FRYP` */
const PARCEL_MAGIC = 0x5059_5246;
const MAX_HELLO = 1024 * 1024;
/** So much of the state is read at a time, in bytes. */
const CHUNK = 256 * 1024;
const NAME = 'ferry-parcel';

/** At the front of the memory; HELLO, STATE, the record and the state of the device follow. */
const ParcelHead = struct('parcel', {
  magic: u32('FRYP'),
  version: u16('PROTOCOL_VERSION'),
  reserved: u16('0'),
  helloLength: u32('bytes of HELLO'),
});

/**
 * A device at rest between two processes, as one fd: a socket in which all fds of the device wait, first that of a memory
 * with everything else. Who takes them out has the device, and they can be taken out once: a parcel that was opened, or
 * {@link spoil}ed, is empty to whoever holds another copy of its fd.
 */
export class Parcel {
  /** The socket. */
  readonly fd: number;
  readonly #native: Native;

  /** The fd is the parcel's from now on. */
  constructor(native: Native, fd: number) {
    this.#native = native;
    this.fd = fd;
  }

  /** Puts a device into a new one; the fds stay the caller's. Throws NativeError, for too many fds on their way as well. */
  static pack(native: Native, content: ParcelContent): Parcel {
    const memory = pack(native, content);
    try {
      return Parcel.fill(native, [memory, ...content.fds]);
    } finally {
      native.close(memory);
    }
  }

  /** Puts fds into a new one, which stay the caller's. */
  static fill(native: Native, fds: readonly number[]): Parcel {
    const pair = new Int32Array(2);
    check(native.socketpair(pair), 'socketpair');
    const [into = -1, out = -1] = pair;
    try {
      for (let at = 0; at < fds.length; at += MAX_FDS) {
        const sent = native.send(into, ONE_BYTE, 0, 1, null, 0, 0, fds.slice(at, at + MAX_FDS));
        check(sent, 'send', { fds: fds.length });
      }
      return new Parcel(native, out);
    } catch (error) {
      native.close(out);
      throw error;
    } finally {
      native.close(into);
    }
  }

  /** Takes the fds out, which are the caller's then; none when somebody has done that before. Throws HandoverError. */
  open(): number[] {
    const all: number[] = [];
    const fds = new Int32Array(1 + MAX_FDS);
    const byte = new Uint8Array(1);
    for (;;) {
      const count = this.#native.receive(this.fd, byte, 0, 1, fds, 0);
      if (count === 0) return all;
      all.push(...fds.subarray(1, 1 + (fds[0] ?? 0)));
      if (count > 0 && all.length <= MAX_RECORD_FDS) continue;
      for (const fd of all) this.#native.close(fd);
      throw unreadable(count);
    }
  }

  /** Nobody can have the device from it any more. */
  spoil(): void {
    for (const fd of this.open()) this.#native.close(fd);
  }

  /** Lets go of the socket; who else has it keeps the device. */
  close(): void {
    this.#native.close(this.fd);
  }
}

/** The memory of a parcel that was opened. */
export class ParcelMemory {
  readonly hello: Uint8Array;
  readonly head: Uint8Array;
  readonly record: Uint8Array;
  readonly #native: Native;
  readonly #fd: number;
  readonly #dataAt: number;

  /** Reads all but the state of the device; the fd stays the caller's. Throws HandoverError. */
  constructor(native: Native, fd: number) {
    this.#native = native;
    this.#fd = fd;
    const front = ParcelHead.read(viewOf(this.#bytes(0, ParcelHead.size)), 0);
    const { magic, version, helloLength } = front;
    if (magic !== PARCEL_MAGIC || version !== PROTOCOL_VERSION || helloLength > MAX_HELLO)
      throw damagedRecord('is none, or one of another version');
    this.hello = this.#bytes(ParcelHead.size, helloLength);
    const headAt = ParcelHead.size + helloLength;
    this.head = this.#bytes(headAt, StateHead.size);
    const { recordLength } = StateHead.read(viewOf(this.head), 0);
    if (recordLength > MAX_RECORD) throw damagedRecord('is too large');
    this.record = this.#bytes(headAt + StateHead.size, recordLength);
    this.#dataAt = headAt + StateHead.size + recordLength;
  }

  /** The state of the device, in pieces. */
  *data(): Generator<Uint8Array> {
    let left = Number(StateHead.read(viewOf(this.head), 0).dataLength);
    for (let at = this.#dataAt; left > 0; ) {
      const piece = this.#bytes(at, Math.min(left, CHUNK));
      at += piece.length;
      left -= piece.length;
      yield piece;
    }
  }

  #bytes(at: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    for (let have = 0; have < length; ) {
      const count = check(this.#native.pread(this.#fd, bytes, have, length - have, at + have), 'pread');
      if (count === 0) throw damagedRecord('ends too early');
      have += count;
    }
    return bytes;
  }
}

const ONE_BYTE = Uint8Array.of(0);

function pack(native: Native, { hello, head, record, data }: ParcelContent): number {
  const front = new Uint8Array(ParcelHead.size);
  const fields = { magic: PARCEL_MAGIC, version: PROTOCOL_VERSION, reserved: 0, helloLength: hello.length };
  ParcelHead.write(viewOf(front), 0, fields);
  const pieces = [front, hello, head, record, ...data];
  const size = pieces.reduce((sum, { length }) => sum + length, 0);
  const fd = check(native.memfd(NAME, size, true), 'memfd', { size });
  try {
    let at = 0;
    for (const piece of pieces) at = write(native, fd, piece, at);
    return fd;
  } catch (error) {
    native.close(fd);
    throw error;
  }
}

/** Writes all of it; returns where it ends. */
function write(native: Native, fd: number, bytes: Uint8Array, at: number): number {
  for (let done = 0; done < bytes.length; ) {
    done += check(native.pwrite(fd, bytes, done, bytes.length - done, at + done), 'pwrite', { fd });
  }
  return at + bytes.length;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function unreadable(result: number): HandoverError {
  const context = result < 0 ? { errno: -result } : {};
  const message =
    'not all descriptors of the device have come back: raise the limit of open files (ulimit -n)';
  return new HandoverError('ERR_HANDOVER_FDS', message, context);
}
