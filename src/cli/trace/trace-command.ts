import { Command, Option } from 'commander';
import { UsageError } from '../outcome/usage-error.ts';
import { dissectorCommand } from './dissector.ts';
import { traceLive } from './live.ts';
import { traceReadCommand } from './read.ts';
import { traceReplayCommand } from './replay.ts';
import { addShowOptions, FILTER_HELP, type ShowOptions } from './show-options.ts';

interface Options extends ShowOptions {
  readonly listen?: string;
  readonly connect?: string;
  readonly write?: string;
  readonly print?: boolean;
  readonly control: boolean;
}

const HELP = `
Stands between a client and a server: point the VMM to the path of --listen, and --connect to the server. Every byte and
every descriptor passes as it came, whatever it is; what is shown is taken from it afterwards. If the server has a control
socket (its path with .control), that is traced as well. It ends on SIGINT or SIGTERM, and the connections with it.

${FILTER_HELP}

Examples:
  ferry trace --listen /tmp/vm.sock --connect /tmp/dev.sock
  ferry trace --listen /tmp/vm.sock --connect /tmp/dev.sock --filter 'command!=REGION_* latency>1ms'
  ferry trace --listen /tmp/vm.sock --connect /tmp/dev.sock -w boot.pcapng --summary
  ferry trace read boot.pcapng --filter command=DMA_MAP --fields
  ferry trace replay boot.pcapng /tmp/dev.sock
  ferry trace dissector > vfio-user.lua && tshark -X lua_script:vfio-user.lua -r boot.pcapng

Exit codes:
  0  done; replay: every answer was as recorded
  1  it failed, or the recording could not be written; replay: answers differ
  2  the command line is wrong`;

/** `ferry trace` and what belongs to it. */
export function traceCommand(): Command {
  const command = new Command('trace')
    .description('see the conversation of a client and a server, record it, play it again')
    .enablePositionalOptions()
    .option('--listen <path>', 'where the client connects')
    .option('--connect <path>', 'the main socket of the server')
    .option('--no-control', 'leave the control socket alone')
    .option('-w, --write <file>', 'record everything as pcapng, and show nothing but warnings')
    .addOption(new Option('--print', 'with -w: show it as well'));
  return addShowOptions(command)
    .addHelpText('after', HELP)
    .addCommand(traceReadCommand())
    .addCommand(traceReplayCommand())
    .addCommand(dissectorCommand())
    .action(trace);
}

async function trace(options: Options): Promise<void> {
  const { listen, connect } = options;
  if (listen === undefined || connect === undefined) {
    throw new UsageError('give the path for the client as --listen PATH and the server as --connect PATH');
  }
  if (listen === connect) throw new UsageError('--listen and --connect are the same path');
  await traceLive({ ...options, listen, connect });
}
