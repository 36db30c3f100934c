import { Errno } from '../errors/index.ts';
import type { DmaPort } from '../memory/index.ts';
import { Command, DmaAccess, dmaRead, dmaWrite, littleEndian } from '../protocol/index.ts';
import type { Connection, IncomingMessage, Reactor } from '../transport/index.ts';
import { RemoteDmaError } from './remote-dma-error.ts';
import { ServerError } from './server-error.ts';

/** How long a client may take to answer a DMA message, in milliseconds: as long as QEMU waits for us. */
const DMA_TIMEOUT_MS = 5_000;

/**
 * The most bytes of one message on the main socket, whatever the client says it takes. QEMU 11.1 writes a message
 * with one call and forgets what a full socket did not take, so that a large reply ends in the middle and the next
 * message is read as the rest of it. What fits into one buffer of a UNIX socket (a good 36 KiB) is written whole or not
 * at all, and read so.
 */
const MAX_PIECE_ON_MAIN = 32 * 1024;

/** How many pieces of one transfer are in flight at once: ids and memory are finite, and a piece may be one byte. */
const MAX_PIECES_IN_FLIGHT = 32;

/** What is waited for in one piece of a transfer. */
interface Piece {
  readonly address: bigint;
  readonly count: number;
}

/**
 * Guest memory by DMA_READ and DMA_WRITE, on the main socket or its twin. Pieces of one transfer, and transfers, are
 * in flight together; nothing here waits in a way that keeps the socket from being served.
 */
export class MessageDmaPort implements DmaPort {
  readonly #connection: Connection;
  readonly #clock: Pick<Reactor, 'after'>;
  readonly #maxPiece: number;

  /** `maxPiece`: the most bytes that one message may move. */
  constructor(connection: Connection, clock: Pick<Reactor, 'after'>, maxPiece: number) {
    this.#connection = connection;
    this.#clock = clock;
    this.#maxPiece = maxPiece;
  }

  /** Over the twin where a client has one, else over its main connection, where it must not hold up the rest. */
  static over(
    main: Connection,
    twin: Connection | null,
    clock: Pick<Reactor, 'after'>,
    maxPiece: number,
  ): MessageDmaPort {
    if (twin !== null) return new MessageDmaPort(twin, clock, maxPiece);
    return new MessageDmaPort(main, clock, Math.min(maxPiece, MAX_PIECE_ON_MAIN));
  }

  get connected(): boolean {
    return this.#connection.closedBecause === null;
  }

  async read(iova: bigint, length: number): Promise<Uint8Array> {
    const result = new Uint8Array(length);
    await this.#pieces(iova, length, (piece, done) =>
      this.#exchange(Command.DMA_READ, piece, null, (reply) => {
        result.set(decodeRead(reply, piece), done);
      }),
    );
    return result;
  }

  async write(iova: bigint, data: Uint8Array): Promise<void> {
    await this.#pieces(iova, data.length, (piece, done) =>
      this.#exchange(Command.DMA_WRITE, piece, data.subarray(done, done + piece.count), (reply) =>
        checkWritten(reply, piece),
      ),
    );
  }

  /**
   * Does all pieces, several at once. After a failure no more are started, but those under way are waited for: none
   * may arrive after the transfer is over.
   */
  async #pieces(
    iova: bigint,
    length: number,
    exchange: (piece: Piece, done: number) => Promise<void>,
  ): Promise<void> {
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < length) {
        const done = next;
        const count = Math.min(this.#maxPiece, length - done);
        next += count;
        await exchange({ address: iova + BigInt(done), count }, done).catch((error: unknown) => {
          next = length;
          throw error;
        });
      }
    };
    const lanes = Math.min(MAX_PIECES_IN_FLIGHT, Math.ceil(length / this.#maxPiece));
    const outcomes = await Promise.allSettled(Array.from({ length: lanes }, lane));
    const failed = outcomes.find((outcome) => outcome.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** Whether a message of `size` bytes has to wait for others to be sent. */
  #isBlocked(size: number): boolean {
    const connection = this.#connection;
    return connection.closedBecause === null && connection.out.pending > 0 && !connection.hasRoom(size);
  }

  #drained(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(timeoutMs, resolve);
      this.#connection.whenDrained(() => {
        timer.close();
        resolve();
      });
    });
  }

  async #exchange(
    command: number,
    piece: Piece,
    data: Uint8Array | null,
    accept: (reply: IncomingMessage) => void,
  ): Promise<void> {
    const size = DmaAccess.size + (data?.length ?? 0);
    const deadline = performance.now() + DMA_TIMEOUT_MS;
    while (this.#isBlocked(size)) {
      if (performance.now() >= deadline) throw notTaken();
      await this.#drained(deadline - performance.now());
    }
    return new Promise((resolve, reject) => {
      const { out } = this.#connection;
      const at = this.#connection.request(command, size, DMA_TIMEOUT_MS, (reply, error) => {
        try {
          if (reply === null) throw error;
          if (reply.failed) throw new RemoteDmaError(command, piece.address, piece.count, reply.error);
          accept(reply);
          resolve();
        } catch (problem) {
          reject(problem);
        }
      });
      out.view.setBigUint64(at + DmaAccess.at.address, piece.address, littleEndian);
      out.view.setBigUint64(at + DmaAccess.at.count, BigInt(piece.count), littleEndian);
      if (data !== null) out.bytes.set(data, at + DmaAccess.size);
    });
  }
}

function decodeRead(reply: IncomingMessage, piece: Piece): Uint8Array {
  const value = dmaRead.reply.decode(reply.payload());
  requireWhole(Command.DMA_READ, piece, value.address, value.count);
  return value.data;
}

function checkWritten(reply: IncomingMessage, piece: Piece): void {
  const value = dmaWrite.reply.decode(reply.payload());
  requireWhole(Command.DMA_WRITE, piece, value.address, value.count);
}

/** A short transfer may come back as a smaller count instead of an error (vfio-user.rst of QEMU 11.1). */
function requireWhole(command: number, piece: Piece, address: bigint, count: bigint): void {
  if (address === piece.address && count === BigInt(piece.count)) return;
  throw new RemoteDmaError(command, piece.address, piece.count, 0, `the client transferred ${count} bytes`);
}

function notTaken(): ServerError {
  const message = 'the client does not take the messages that it is sent';
  return new ServerError('ERR_DMA_FAILED', message, {}, { errno: Errno.ETIMEDOUT });
}
