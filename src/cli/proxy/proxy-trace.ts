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
  const view = new TraceView(options, !shown);
  const recorder =
    write === undefined ? null : new Recorder(write, 'ferry proxy', { main: backend, control: '' });
  let told = false;
  const settle = (): void => {
    view.flush();
    recorder?.flush();
    const failure = recorder?.failure ?? null;
    if (failure === null || told) return;
    told = true;
    printError(printable(`ferry: the recording ends here, the proxy goes on: ${failure.message}`));
  };
  const feed = new TraceFeed({
    factsOf: fdFactsOf,
    later: (job, soon) => {
      const run = (): void => {
        job();
        settle();
      };
      if (soon) setImmediate(run);
      else setTimeout(run, SHOW_MS);
    },
    emit: (event) => {
      recorder?.add(event);
      if (shown) view.show(event);
    },
  });
  let connections = 0;
  return {
    tap: () => {
      connections += 1;
      return feed.open({ number: connections, role: 'main' }, 0);
    },
    close: () => {
      feed.flush();
      settle();
      recorder?.close();
    },
  };
}
