import type { FerryError } from '../errors/index.ts';
import { Command, littleEndian, ProtocolError, RegionAccess, writeU64FromNumber } from '../protocol/index.ts';
import type { Completion, Connection, IncomingMessage } from '../transport/index.ts';
import { ClientError } from './client-error.ts';
import { requireCount } from './region-access.ts';
import { putRegister, type RegisterSize, registerValue } from './register-value.ts';
import { failureOf } from './run-operation.ts';
import type { SyncWaiter } from './sync-waiter.ts';

/**
 * Register accesses of a synchronous client without generators, promises and objects of their own: the hot path of a
 * VMM, where a register access stops a vCPU.
 */
export class SyncRegisters {
  readonly #connection: Connection;
  readonly #waiter: SyncWaiter;
  readonly #timeoutMs: number;
  #size = 0;
  #done = false;
  #error: FerryError | null = null;
  #value = 0;
  #wide = 0n;
  readonly #isDone = (): boolean => this.#done;
  readonly #readDone: Completion = (reply, error) => this.#finish(reply, error, this.#takeValue);
  readonly #writeDone: Completion = (reply, error) => this.#finish(reply, error, this.#checkWrite);

  constructor(connection: Connection, waiter: SyncWaiter, timeoutMs: number) {
    this.#connection = connection;
    this.#waiter = waiter;
    this.#timeoutMs = timeoutMs;
  }

  /** Reads a register of 1, 2 or 4 bytes. */
  read(region: number, offset: number | bigint, size: 1 | 2 | 4): number {
    this.#read(region, offset, size);
    return this.#value;
  }

  /** Reads a register of 8 bytes. */
  readWide(region: number, offset: number | bigint): bigint {
    this.#read(region, offset, 8);
    return this.#wide;
  }

  /** Writes a register; a posted write returns when the socket has taken it. */
  write(
    region: number,
    offset: number | bigint,
    size: RegisterSize,
    value: number | bigint,
    posted: boolean,
  ): void {
    requireAccess(region, offset);
    putRegister(scratch, 0, size, value);
    this.#waiter.enter();
    try {
      const completion = posted ? null : this.#writeDone;
      const at = this.#begin(Command.REGION_WRITE, RegionAccess.size + size, completion);
      putAccess(this.#connection.out.view, at, region, offset, size);
      this.#connection.out.bytes.set(
        size === 8 ? scratchBytes : scratchBytes.subarray(0, size),
        at + RegionAccess.size,
      );
      if (posted) this.#sendPosted();
      else this.#wait(size);
    } finally {
      this.#waiter.leave();
    }
  }

  #read(region: number, offset: number | bigint, size: RegisterSize): void {
    requireAccess(region, offset);
    this.#waiter.enter();
    try {
      const at = this.#begin(Command.REGION_READ, RegionAccess.size, this.#readDone);
      putAccess(this.#connection.out.view, at, region, offset, size);
      this.#wait(size);
    } finally {
      this.#waiter.leave();
    }
  }

  #begin(command: number, payloadSize: number, completion: Completion | null): number {
    if (!this.#connection.hasRoom(payloadSize)) this.#waiter.drain(this.#connection);
    return this.#connection.request(command, payloadSize, this.#timeoutMs, completion);
  }

  #wait(size: number): void {
    this.#size = size;
    this.#done = false;
    this.#error = null;
    this.#waiter.reactor.runUntil(this.#isDone, Number.POSITIVE_INFINITY);
    if (this.#error !== null) throw this.#error;
  }

  #sendPosted(): void {
    this.#connection.flush();
    if (this.#connection.out.pending > 0) this.#waiter.drain(this.#connection);
  }

  #finish(
    reply: IncomingMessage | null,
    error: FerryError | null,
    take: (reply: IncomingMessage) => void,
  ): void {
    this.#done = true;
    this.#error = failureOf(reply, error);
    if (this.#error !== null || reply === null) return;
    try {
      take(reply);
    } catch (wrong) {
      if (!(wrong instanceof ProtocolError)) throw wrong;
      this.#error = wrong;
    }
  }

  readonly #takeValue = (reply: IncomingMessage): void => {
    const size = this.#size;
    if (reply.length !== RegionAccess.size + size) throw wrongLength('REGION_READ', reply.length);
    requireCount('REGION_READ', size, countOf(reply));
    const at = reply.start + RegionAccess.size;
    if (size === 8) this.#wide = reply.view.getBigUint64(at, littleEndian);
    else if (size === 1 || size === 2 || size === 4) this.#value = registerValue(reply.view, at, size);
  };

  readonly #checkWrite = (reply: IncomingMessage): void => {
    // A bare header is an answer too: QEMU takes it, so servers exist that send it.
    if (reply.length === 0) return;
    if (reply.length !== RegionAccess.size) throw wrongLength('REGION_WRITE', reply.length);
    requireCount('REGION_WRITE', this.#size, countOf(reply));
  };
}

/** The value of a write, checked before a message is begun. */
const scratchBytes = new Uint8Array(8);
const scratch = new DataView(scratchBytes.buffer);

function requireAccess(region: number, offset: number | bigint): void {
  const validOffset =
    typeof offset === 'number'
      ? Number.isSafeInteger(offset) && offset >= 0
      : BigInt.asUintN(64, offset) === offset;
  if (validOffset && region >>> 0 === region) return;
  const message = `region ${region}, offset ${offset} can't be accessed`;
  throw new ClientError('ERR_CLIENT_ARGUMENT', message, { region, offset });
}

function putAccess(view: DataView, at: number, region: number, offset: number | bigint, count: number): void {
  if (typeof offset === 'number') writeU64FromNumber(view, at + RegionAccess.at.offset, offset);
  else view.setBigUint64(at + RegionAccess.at.offset, offset, littleEndian);
  view.setUint32(at + RegionAccess.at.region, region, littleEndian);
  view.setUint32(at + RegionAccess.at.count, count, littleEndian);
}

function countOf(reply: IncomingMessage): number {
  return reply.view.getUint32(reply.start + RegionAccess.at.count, littleEndian);
}

function wrongLength(command: string, length: number): ProtocolError {
  return new ProtocolError(`${command} reply: ${length} bytes are not what was asked for`, {
    context: { message: `${command} reply`, field: 'payload', length },
  });
}
