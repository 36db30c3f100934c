import type { FdFacts, RelayTap, Side } from '../relay/index.ts';
import { type Assembled, MessageAssembler } from './message-assembler.ts';
import type { TracedConnection, TraceEvent } from './trace-event.ts';

/** What a feed needs of its surroundings. */
export interface FeedOptions {
  /** Takes each event, in the order in which things happened. */
  readonly emit: (event: TraceEvent) => void;
  /** What a descriptor is; it stays open only during the call. */
  readonly factsOf: (fd: number) => FdFacts;
  /** Runs a job soon, when what is urgent is done. */
  readonly later: (job: () => void) => void;
}

/** The beginning of performance.now(), in nanoseconds since 1970. */
const ORIGIN = BigInt(Math.round(performance.timeOrigin * 1_000)) * 1_000n;

/** A moment of performance.now() in nanoseconds since 1970. */
export function toNanoseconds(at: number): bigint {
  return ORIGIN + BigInt(Math.round(at * 1_000_000));
}

/**
 * Makes events of what taps see. What passes is only copied while it passes; it is put together {@link FeedOptions.later}.
 */
export class TraceFeed {
  readonly #options: FeedOptions;
  #jobs: (() => void)[] = [];
  #planned = false;

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
        const copy = bytes.slice();
        const facts = fds.map(factsOf);
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
    this.#planned = false;
    const jobs = this.#jobs;
    this.#jobs = [];
    for (const job of jobs) job();
  }

  #add(job: () => void): void {
    this.#jobs.push(job);
    if (this.#planned) return;
    this.#planned = true;
    this.#options.later(() => this.flush());
  }
}
