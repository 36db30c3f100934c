import { Errno } from '../../src/errors/index.ts';
import { ArcError, type MigrationState, migrationMachine, StateError, walk } from '../../src/states/index.ts';

/** What a driver of the kernel may do in one way or another. */
export interface FakeDriverOptions {
  /** MigrationFlag bits, 7 by default; null: it does not migrate. */
  readonly flags?: number | null;
  /** What a read answers in PRE_COPY when there is nothing: 0 as mtty, or ENOMSG as the header has it. */
  readonly dry?: 'zero' | 'ENOMSG';
  /** It has a poll method, and tells when there is data. */
  readonly poll?: boolean;
  /** It tells how much state it has. */
  readonly tellsSize?: boolean;
  /** It can be reset; mtty can, and does not say so. */
  readonly resettable?: boolean;
  readonly saysResettable?: boolean;
  /** It logs DMA; `no report`: START works and REPORT does not. */
  readonly logging?: 'none' | 'no report' | 'yes';
  /** Knows PRECOPY_INFOv2. */
  readonly precopyV2?: boolean;
  /** A state change towards this state fails with EIO after that many arcs. */
  readonly failAt?: { readonly state: number; readonly into: number } | null;
}

const MAGIC = 0x7e9d_0989_8c3e_2c4en;
const HEADER = 24;
/** The state that mtty has with two ports. */
export const STATE_SIZE = 96;
const [LCR_AT, SCRATCH_AT] = [27, 31];
const [LCR, SCRATCH] = [3, 7];

/** One session of a driver: what a read finds, or what was written. */
export class FakeSession {
  readonly kind: 'saving' | 'resuming';
  alive = true;
  readonly written: number[] = [];
  /** How much of the state has been read. */
  at = 0;

  constructor(kind: 'saving' | 'resuming') {
    this.kind = kind;
  }
}

/** A driver like mtty: a UART whose state is 96 bytes, of which the first 24 can be read while it runs. */
export class FakeDriver {
  readonly options: Required<FakeDriverOptions>;
  readonly registers = new Uint8Array(8);
  state: number = 2;
  session: FakeSession | null = null;
  /** What DMA_LOGGING_START was given. */
  logged: { pageSize: bigint; ranges: { iova: bigint; length: bigint }[] } | null = null;
  readonly dirty = new Set<bigint>();
  /** How many reads or writes of sessions are under way. */
  underWay = 0;
  reinit = false;

  constructor(options: FakeDriverOptions = {}) {
    this.options = {
      ...{ flags: 7, dry: 'zero', poll: false, tellsSize: true, resettable: true, saysResettable: false },
      ...{ logging: 'no report', precopyV2: true, failAt: null, ...options },
    };
  }

  /** The state as it goes over the wire. */
  saved(): Uint8Array {
    const bytes = new Uint8Array(STATE_SIZE);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, MAGIC, true);
    view.setUint32(8, 1, true);
    view.setUint32(16, 2, true);
    bytes[LCR_AT] = this.registers[LCR] ?? 0;
    bytes[SCRATCH_AT] = this.registers[SCRATCH] ?? 0;
    bytes[0x39] = 0x10;
    bytes[0x5d] = 0x10;
    return bytes;
  }

  reset(): number {
    if (!this.options.resettable) return -Errno.EINVAL;
    this.#end();
    this.state = 2;
    return 0;
  }

  /** Returns a session that is new, null when there is none or it goes on, or an errno negated. */
  go(to: number): FakeSession | null | number {
    const { flags } = this.options;
    if (flags === null) return -Errno.ENOTTY;
    const before = this.session;
    try {
      walk(migrationMachine(flags), this.state as MigrationState, to as MigrationState, (from, next) => {
        this.#step(from, next, to);
      });
    } catch (error) {
      if (error instanceof ArcError && typeof error.cause === 'number') return -error.cause;
      if (error instanceof StateError || error instanceof ArcError) return -Errno.EINVAL;
      throw error;
    }
    return this.session === before ? null : this.session;
  }

  /** read(2) of a session. */
  read(session: FakeSession, into: Uint8Array): number {
    if (session.kind === 'resuming') return -Errno.EBADF;
    if (!session.alive) return -Errno.ENODEV;
    const bytes = this.saved().subarray(session.at, this.#limit());
    if (bytes.length === 0 && this.state !== 3) return this.options.dry === 'zero' ? 0 : -Errno.ENOMSG;
    const piece = bytes.subarray(0, into.length);
    into.set(piece);
    session.at += piece.length;
    return piece.length;
  }

  /** write(2) of a session: takes at most 50 bytes at a time. */
  write(session: FakeSession, from: Uint8Array): number {
    if (session.kind === 'saving') return -Errno.EBADF;
    if (!session.alive) return -Errno.ENODEV;
    if (session.written.length + from.length > STATE_SIZE) return -Errno.ENOMEM;
    const piece = from.subarray(0, 50);
    session.written.push(...piece);
    const magic = Uint8Array.from(session.written.slice(0, 8));
    if (session.written.length < HEADER) return piece.length;
    return new DataView(magic.buffer).getBigUint64(0, true) === MAGIC ? piece.length : -Errno.EFAULT;
  }

  /** poll(2) of a session: without a method of the driver everything is always ready. */
  ready(session: FakeSession, events: number): number {
    if (!this.options.poll) return events & 5;
    // The end of the data is something to read.
    return session.kind === 'saving' && (this.state === 3 || session.at < this.#limit()) ? events & 1 : 0;
  }

  #limit(): number {
    return this.state === 3 ? STATE_SIZE : HEADER;
  }

  #step(from: number, next: number, target: number): void {
    const { failAt } = this.options;
    if (failAt !== null && failAt.state === target && failAt.into === next) throw Errno.EIO;
    if (from === 4) this.#load();
    const kind = next === 4 ? 'resuming' : next === 3 || next === 6 || next === 7 ? 'saving' : null;
    if (kind !== this.session?.kind) {
      this.#end();
      this.session = kind === null ? null : new FakeSession(kind);
    }
    this.state = next;
  }

  #load(): void {
    const written = Uint8Array.from(this.session?.written ?? []);
    if (written.length < STATE_SIZE) throw Errno.EINVAL;
    this.registers[LCR] = written[LCR_AT] ?? 0;
    this.registers[SCRATCH] = written[SCRATCH_AT] ?? 0;
  }

  #end(): void {
    if (this.session !== null) this.session.alive = false;
    this.session = null;
  }
}
