import type { Command } from 'commander';
import { fdFactsOf, type RelayTap } from '../../relay/index.ts';
import { TraceFeed } from '../../trace/index.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { printable, printError } from '../output/terminal.ts';
import { Recorder } from '../trace/recorder.ts';
import type { ShowOptions } from '../trace/show-options.ts';
import { TraceView } from '../trace/view.ts';

/** What a proxy tells of what passes. */
export interface TraceOptions extends ShowOptions {
  readonly trace?: boolean;
  readonly write?: string;
}

/** The options of `ferry trace` that a proxy has as well. */
export function addTraceOptions(command: Command): Command {
  return command
    .option('--trace', 'show each message between the VMM and the proxy, as ferry trace does')
    .option('-w, --write <file>', 'record them in a file (pcapng), as ferry trace does')
    .option('--filter <terms>', 'with --trace: only messages that fit, see ferry trace --help')
    .option('--fields', 'with --trace: each field in a line of its own, with its bytes')
    .option('--json', 'print lines as JSON');
}

/** What passes is shown so soon, together with what follows, in milliseconds. */
const SHOW_MS = 10;

/** Looks on at the clients of a proxy. */
export interface Tracing {
  /** A client has come; who sees what passes, or null. */
  tap(): RelayTap | null;
  close(): void;
}

/** Begins the recording. @throws the system's error */
export function tracing(backend: string, options: TraceOptions): Tracing {
  const { trace, write } = options;
  const shown = trace === true;
  if (!shown && (options.filter !== undefined || options.fields === true)) {
    throw new UsageError('--filter and --fields go with --trace');
  }
  if (!shown && write === undefined) return { tap: () => null, close: () => {} };
  const recorder =
    write === undefined ? null : new Recorder(write, 'ferry proxy', { main: backend, control: '' });
  return new ClientTracing(new TraceView(options, !shown), shown, recorder);
}

/** Shows what passes, records it, or both. */
class ClientTracing implements Tracing {
  readonly #view: TraceView;
  readonly #recorder: Recorder | null;
  readonly #feed: TraceFeed;
  #connections = 0;
  /** That the recording has failed was said. */
  #told = false;

  constructor(view: TraceView, shown: boolean, recorder: Recorder | null) {
    this.#view = view;
    this.#recorder = recorder;
    this.#feed = new TraceFeed({
      factsOf: fdFactsOf,
      later: (job, soon) => this.#later(job, soon),
      emit: (event) => {
        recorder?.add(event);
        if (shown) view.show(event);
      },
    });
  }

  tap(): RelayTap {
    this.#connections += 1;
    return this.#feed.open({ number: this.#connections, role: 'main' }, 0);
  }

  close(): void {
    this.#feed.flush();
    this.#settle();
    this.#recorder?.close();
  }

  #later(job: () => void, soon: boolean): void {
    const run = (): void => {
      job();
      this.#settle();
    };
    if (soon) setImmediate(run);
    else setTimeout(run, SHOW_MS);
  }

  /** What was seen goes out. A recording that can't go on is told of once. */
  #settle(): void {
    this.#view.flush();
    this.#recorder?.flush();
    const failure = this.#recorder?.failure ?? null;
    if (failure === null || this.#told) return;
    this.#told = true;
    printError(printable(`ferry: the recording ends here, the proxy goes on: ${failure.message}`));
  }
}
