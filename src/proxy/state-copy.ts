import { Errno } from '../errors/index.ts';
import { Command, MigrationData, migDataRead, migDataWrite } from '../protocol/index.ts';
import type { Backend } from './backend.ts';
import { ProxyError } from './proxy-error.ts';

/** A message to libvfio-user must not be larger than the pieces in which a socket gives it back (its issue 306). */
const MAX_WRITE = 32 * 1024;
/** So many of them are sent ahead of their answers: together they fit into a socket's buffer, so none is divided. */
const WRITES_AHEAD = 8;
/** The most that one answer with state may have, in bytes. */
const MAX_READ = 1024 * 1024;
/**
 * The same while the client goes on, which has its answers from the same connection; and at first in any case, since what
 * is left at the end is little, and a server may make room for all that it could be asked for.
 */
const FIRST_READ = 128 * 1024;

/** A round of copying ahead that moves no more than this leaves little for the pause, in bytes. */
const LITTLE = 32 * 1024;
const MAX_ROUNDS = 8;
/** How long the state may be copied ahead, in milliseconds. */
const AHEAD_MS = 20_000;

/** Carries the state of one back end over to another. Both work at the same time. */
export class StateCopy {
  /** What has been carried over, in bytes. */
  bytes = 0;
  readonly #from: Backend;
  readonly #to: Backend;
  readonly #maxRead: number;
  readonly #writes: Promise<unknown>[] = [];

  /** `maxRead`: the most that may be read at once, in bytes. */
  constructor(from: Backend, to: Backend, maxRead: number) {
    this.#from = from;
    this.#to = to;
    this.#maxRead = Math.min(maxRead, MAX_READ);
  }

  /**
   * The old one is in PRE_COPY: its state and then what has changed of it, until little changes from round to round.
   * @throws ProxyError
   */
  async ahead(): Promise<void> {
    const until = performance.now() + AHEAD_MS;
    const size = Math.min(this.#maxRead, FIRST_READ);
    for (let round = 0, before = Number.POSITIVE_INFINITY; round < MAX_ROUNDS; round += 1) {
      const moved = await this.#round(size, until);
      await this.taken();
      if (moved <= LITTLE || moved > before / 2 || performance.now() > until) return;
      before = moved;
    }
  }

  /** The old one is in STOP_COPY: all that is left. The new one need not have answered yet. @throws ProxyError */
  async rest(): Promise<void> {
    await this.#round(this.#maxRead, Number.POSITIVE_INFINITY);
  }

  /** The new one has taken everything. @throws ProxyError */
  async taken(): Promise<void> {
    await Promise.all(this.#writes.splice(0));
  }

  /**
   * Until there is nothing more, in PRE_COPY for now, or until the time has come. Returns how much there was. Two reads
   * are under way at the beginning and after whole answers, so that the old one is not asked again after its last one.
   */
  async #round(maxRead: number, until: number): Promise<number> {
    const begun = this.bytes;
    const first = Math.min(maxRead, FIRST_READ);
    const reads = [this.#read(first), this.#read(first)];
    let ended = false;
    for (let next = reads.shift(); next !== undefined; next = reads.shift()) {
      const data = await next.catch((error: unknown) => {
        // It was asked for more than it had.
        if (ended) return NOTHING;
        throw error;
      });
      ended ||= data.length === 0 || performance.now() > until;
      const wanted = data.length < first ? 1 : 2;
      while (!ended && reads.length < wanted) reads.push(this.#read(maxRead));
      await this.#write(data);
      this.bytes += data.length;
    }
    return this.bytes - begun;
  }

  #read(size: number): Promise<Uint8Array> {
    const data = this.#answer(size);
    // If something else fails before, nobody waits for it any more.
    data.catch(() => {});
    return data;
  }

  async #answer(size: number): Promise<Uint8Array> {
    const request = migDataRead.request.encode({ argsz: MigrationData.size + size, size });
    const { errno, payload } = await this.#from.ask(Command.MIG_DATA_READ, request);
    // What the kernel's drivers say when there is nothing more for now (linux/vfio.h, PRE_COPY).
    if (errno === Errno.ENOMSG) return NOTHING;
    if (errno !== 0) throw this.#from.refusal(Command.MIG_DATA_READ, errno);
    const { data } = migDataRead.reply.decode(payload);
    if (data.length <= size) return data;
    const what = `${this.#from.path} has given ${data.length} bytes of state, not ${size}`;
    throw new ProxyError('ERR_BACKEND', what);
  }

  async #write(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length; at += MAX_WRITE) {
      if (this.#writes.length >= WRITES_AHEAD) await this.#writes.shift();
      const piece = data.subarray(at, at + MAX_WRITE);
      const argsz = MigrationData.size + piece.length;
      const request = migDataWrite.request.encode({ argsz, data: piece });
      const written = this.#to.require(Command.MIG_DATA_WRITE, request);
      // It is waited for later, if nothing else fails before.
      written.catch(() => {});
      this.#writes.push(written);
    }
  }
}

const NOTHING = new Uint8Array(0);
