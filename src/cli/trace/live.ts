import { existsSync } from 'node:fs';
import { loadNative } from '../../native/index.ts';
import { CONTROL_SUFFIX } from '../../protocol/index.ts';
import { fdFactsOf, relayListener } from '../../relay/index.ts';
import { type SocketRole, TraceFeed } from '../../trace/index.ts';
import { type Closeable, EventLoopReactor } from '../../transport/index.ts';
import { ExitCode } from '../outcome/exit-code.ts';
import { ExitRequest } from '../outcome/exit-request.ts';
import { print, printable, printError, toJson } from '../output/terminal.ts';
import { LiveFigures } from './live-figures.ts';
import { Recorder } from './recorder.ts';
import type { ShowOptions } from './show-options.ts';
import { TraceView } from './view.ts';

/** What `ferry trace` was told. */
export interface LiveOptions extends ShowOptions {
  readonly listen: string;
  readonly connect: string;
  readonly control: boolean;
  readonly write?: string;
  readonly print?: boolean;
}

/** Traces until a signal comes. @throws ExitRequest when the recording could not be written */
export async function traceLive(options: LiveOptions): Promise<void> {
  const trace = new LiveTrace(options);
  const signalled = nextSignal();
  try {
    trace.start();
    await signalled;
  } finally {
    trace.close();
  }
  if (trace.failed) throw new ExitRequest(ExitCode.FAILED);
}

/** What passes is looked at this much later, in milliseconds, unless it is a lot: then the connections have passed it. */
const SHOW_MS = 10;

class LiveTrace {
  readonly #options: LiveOptions;
  readonly #view: TraceView;
  readonly #recorder: Recorder | null;
  readonly #feed: TraceFeed;
  readonly #listeners: Closeable[] = [];
  #figures: LiveFigures | null = null;
  /** Connections are numbered over both sockets. */
  #connections = 0;
  /** Whether the recording could not be written. */
  failed = false;

  constructor(options: LiveOptions) {
    const { write, connect } = options;
    this.#options = options;
    this.#view = new TraceView(options, write !== undefined && options.print !== true);
    const sockets = { main: connect, control: connect + CONTROL_SUFFIX };
    this.#recorder = write === undefined ? null : new Recorder(write, 'ferry trace', sockets);
    // Only a recording that shows nothing needs no message taken apart.
    const shown = write === undefined || options.print === true || options.summary === true;
    this.#feed = new TraceFeed({
      factsOf: fdFactsOf,
      later: (job, soon) => {
        if (soon) setImmediate(() => this.#process(job));
        else setTimeout(() => this.#process(job), SHOW_MS);
      },
      emit: (event) => {
        this.#recorder?.add(event);
        if (shown) this.#view.show(event);
      },
    });
  }

  start(): void {
    const { listen, connect, control, json, summary } = this.#options;
    const roles: SocketRole[] = ['main'];
    if (control && existsSync(connect + CONTROL_SUFFIX)) roles.push('control');
    const suffix = { main: '', control: CONTROL_SUFFIX };
    for (const role of roles) this.#listen(role, listen + suffix[role], connect + suffix[role]);
    if (summary === true && json !== true) this.#figures = new LiveFigures(() => this.#view.figures());
    const paths = roles.map((role) => listen + suffix[role]).join(' and ');
    printError(`listening on ${paths}, relaying to ${connect}`);
  }

  close(): void {
    for (const listener of this.#listeners) listener.close();
    this.#process(() => this.#feed.flush());
    this.#recorder?.close();
    this.#figures?.end();
    if (this.#options.summary === true && this.#options.json === true) print(toJson(this.#view.figures()));
  }

  #listen(role: SocketRole, path: string, server: string): void {
    const native = loadNative();
    this.#listeners.push(
      relayListener({
        native,
        // The relay looks for answers itself, on the other socket.
        reactor: new EventLoopReactor(native, { spinMicroseconds: 0 }),
        listen: path,
        connect: server,
        opened: ({ client }) => {
          this.#connections += 1;
          return this.#feed.open({ number: this.#connections, role }, client?.pid ?? 0);
        },
        refused: (error) => printError(printable(`ferry: a client was turned away: ${error.message}`)),
      }),
    );
  }

  #process(job: () => void): void {
    job();
    this.#view.flush();
    this.#recorder?.flush();
    const failure = this.#recorder?.failure ?? null;
    if (failure === null || this.failed) return;
    this.failed = true;
    printError(printable(`ferry: the recording ends here, the connections go on: ${failure.message}`));
  }
}

/** Settles at the first SIGTERM or SIGINT; a second one ends the process as usual. */
function nextSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
}
