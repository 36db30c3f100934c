import type { FdFacts, RelayTap, Side } from '../relay/index.ts';
import { type Assembled, MessageAssembler } from './message-assembler.ts';
import type { TracedConnection, TraceEvent } from './trace-event.ts';

/** What a feed needs of its surroundings. */
export interface FeedOptions {
  /** Takes each event, in the order in which things happened. */
  readonly emit: (event: TraceEvent) => void;
  /** What a descriptor is; it stays open only during the call. */
  readonly factsOf: (fd: number) => FdFacts;
  /** Runs a job when what is urgent is done; `soon`: a lot has been gathered, and it should not wait longer. */
  readonly later: (job: () => void, soon: boolean) => void;
}

/** The beginning of performance.now(), in nanoseconds since 1970. */
const ORIGIN = BigInt(Math.round(performance.timeOrigin * 1_000)) * 1_000n;

/** A moment of performance.now() in nanoseconds since 1970. */
export function toNanoseconds(at: number): bigint {
  return ORIGIN + BigInt(Math.round(at * 1_000_000));
}

/** Bytes that are gathered before they are to be looked at soon. */
const MANY_BYTES = 1024 * 1024;
/** Pieces that are gathered before that. */
const MANY_PIECES = 1024;
/** Pieces are copied into memory of this size, many together. */
const CHUNK = 256 * 1024;

/** Something that a tap has seen, put off. */
type Job = () => void;

/**
 * Makes events of what taps see. What passes is only copied while it passes; it is put together
 * {@link FeedOptions.later}.
 */
export class TraceFeed {
  readonly #options: FeedOptions;
  #jobs: Job[] = [];
  #bytes = 0;
  #planned: 'no' | 'later' | 'soon' = 'no';
  #chunk = new Uint8Array(CHUNK);
  #filled = 0;

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  /** A connection has come; returns the tap that looks at it. `pid`: the client's process, 0 when it is not known. */
  open(connection: TracedConnection, pid: number): RelayTap {
    const { emit, factsOf } = this.#options;
    const assemblers: Readonly<Record<Side, MessageAssembler<FdFacts>>> = {
      client: new MessageAssembler(),
      server: new MessageAssembler(),
    };
    const tell = (from: Side, time: bigint, { isMessage, bytes, wireSize, fds }: Assembled<FdFacts>): void =>
      emit({ connection, time, kind: isMessage ? 'message' : 'bytes', from, bytes, wireSize, fds });
    const opened = toNanoseconds(performance.now());
    this.#add(() => emit({ connection, time: opened, kind: 'opened', pid }));
    return {
      passed: (from, bytes, fds, at) => {
        const copy = this.#copy(bytes);
        const facts = fds.length === 0 ? NO_FDS : fds.map(factsOf);
        this.#add(() => {
          const time = toNanoseconds(at);
          for (const one of assemblers[from].push(copy, facts)) tell(from, time, one);
        });
      },
      ended: (from, end, at) =>
        this.#add(() => {
          const time = toNanoseconds(at);
          const rest = assemblers[from].end();
          if (rest !== null) tell(from, time, rest);
          emit({ connection, time, kind: 'ended', from, end });
        }),
    };
  }

  /** Does now what was put off. */
  flush(): void {
    const jobs = this.#jobs;
    this.#jobs = [];
    this.#bytes = 0;
    this.#planned = 'no';
    for (const job of jobs) job();
    // Nothing points into it any more.
    this.#filled = 0;
  }

  /** The bytes in memory that is used again when they have been looked at. */
  #copy(bytes: Uint8Array): Uint8Array {
    this.#bytes += bytes.length;
    if (bytes.length > CHUNK / 4) return bytes.slice();
    if (this.#filled + bytes.length > CHUNK) {
      this.#chunk = new Uint8Array(CHUNK);
      this.#filled = 0;
    }
    const start = this.#filled;
    this.#chunk.set(bytes, start);
    this.#filled += bytes.length;
    return this.#chunk.subarray(start, this.#filled);
  }

  #add(job: Job): void {
    this.#jobs.push(job);
    const soon = this.#bytes >= MANY_BYTES || this.#jobs.length >= MANY_PIECES;
    if (this.#planned === 'soon' || (this.#planned === 'later' && !soon)) return;
    this.#planned = soon ? 'soon' : 'later';
    this.#options.later(() => this.flush(), soon);
  }
}

const NO_FDS: readonly FdFacts[] = [];
