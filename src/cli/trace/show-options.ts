import type { Command } from 'commander';

/** How a trace is shown, as the command line says. */
export interface ShowOptions {
  readonly filter?: string;
  readonly summary?: boolean;
  readonly json?: boolean;
  readonly fields?: boolean;
}

/** The options that all commands have that show a trace. */
export function addShowOptions(command: Command): Command {
  return command
    .option('--filter <terms>', 'show only messages that fit, see below')
    .option('--fields', 'each field in a line of its own, with its bytes')
    .option('--summary', 'figures instead of messages: rates, latencies, errors')
    .option('--json', 'one JSON object a line');
}

/** What --filter understands. */
export const FILTER_HELP = `Filters: terms apart by spaces, all of which must hold. A term is a name, one of = != < <= > >= and a value; = and != take
several values apart by commas, and * in them. Names are command, kind (request, reply, error, invalid), from (client,
server), socket (main, control), connection, id, errno, latency, bytes, fds, fd (memfd, eventfd ...), state, problem (yes,
no), and every field of every message, such as region, offset, address, flags. Numbers may be hex, times are 10us or 1.5ms.
  command=REGION_* region=CONFIG     kind=error errno!=ENOTTY     latency>1ms     address>=0x100000 fds=1`;
