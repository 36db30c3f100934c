import { Command } from 'commander';
import { loadNative } from '../../native/index.ts';
import { ignoring, MAX_SCRIPT, type Script, type ScriptedRequest, scriptOf } from '../../trace/index.ts';
import { connect, EventLoopReactor } from '../../transport/index.ts';
import { formatBytes, wholeNumber } from '../options/quantities.ts';
import { ExitCode } from '../outcome/exit-code.ts';
import { ExitRequest } from '../outcome/exit-request.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { print, toJson } from '../output/terminal.ts';
import { judge } from './judge.ts';
import { Player } from './player.ts';
import { readRecording } from './recording-file.ts';
import { type ReplayFigures, replaySummary, requestLines } from './replay-text.ts';

interface Options {
  readonly connection?: number;
  readonly ignore?: readonly string[];
  readonly pace?: boolean;
  readonly timeout: number;
  readonly json?: boolean;
}

const HELP = `
Sends what the recorded client sent, one request after the other, and compares the answers with the recorded ones. Memory
that came with DMA_MAP becomes new, empty memory of the same size, interrupts become new eventfds. What a device reads from
mapped memory, and when interrupts come, is in no recording; a device whose registers depend on that answers otherwise.
Ids of messages never count, nor does what FERRY_CLAIM tells of moments and processes.

Use a fresh instance of the server: the recorded client began with one.

Examples:
  ferry trace replay boot.pcapng /tmp/dev.sock
  ferry trace replay boot.pcapng /tmp/dev.sock --ignore region_read.data --ignore 'version.*'
  ferry trace replay boot.pcapng /tmp/dev.sock --connection 2 --json

Exit codes:
  0  every answer was as recorded, but for what was to be ignored
  1  answers differ, or it failed
  2  the command line is wrong`;

const collect = (name: string, all: readonly string[] = []): readonly string[] => [...all, name];

/** `ferry trace replay`. */
export function traceReplayCommand(): Command {
  return new Command('replay')
    .description("play the client's side of a recording against a server, and report where answers differ")
    .argument('<file>', 'what ferry trace -w has written')
    .argument('<socket>', 'the socket of a server')
    .option('--connection <number>', 'which connection of the recording (default: the first)', wholeNumber(1))
    .option('--ignore <field>', 'a field that may differ, such as region_read.data; may be repeated', collect)
    .option('--pace', 'with the pauses of the recording')
    .option('--timeout <ms>', 'how long to wait for each answer', wholeNumber(1), 5000)
    .option('--json', 'one JSON object for each request whose answer differs, and one for the figures')
    .addHelpText('after', HELP)
    .action(replay);
}

async function replay(file: string, socket: string, options: Options): Promise<void> {
  const connection = options.connection ?? firstConnection(file);
  const script = scriptOf(readRecording(file), connection);
  if (script === null) {
    throw new UsageError(
      `connection ${connection} is longer than ${formatBytes(MAX_SCRIPT)}, which can't be replayed`,
    );
  }
  if (script.requests.length === 0) {
    throw new UsageError(`connection ${connection} of ${file} has no request of a client`);
  }
  const native = loadNative();
  const fd = connect(native, socket);
  const reactor = new EventLoopReactor(native);
  const player = new Player({ native, reactor, fd, script, timeoutMs: options.timeout });
  try {
    const figures = await playAll(player, script, options);
    if (options.json === true) print(toJson(figures));
    else for (const line of replaySummary(figures)) print(line);
    if (figures.different > 0 || figures.failed > 0) throw new ExitRequest(ExitCode.FAILED);
  } finally {
    player.close();
  }
}

/** The first connection on which a client said something. */
function firstConnection(file: string): number {
  for (const event of readRecording(file)) {
    if (event.kind === 'message' && event.from === 'client') return event.connection.number;
  }
  throw new UsageError(`${file} has no message of a client`);
}

async function playAll(player: Player, script: Script, options: Options): Promise<ReplayFigures> {
  const ignored = ignoring(options.ignore ?? []);
  const counts = { requests: 0, equal: 0, different: 0, ignored: 0, failed: 0, unanswered: 0 };
  let before: bigint | null = null;
  for (const request of script.requests) {
    const { time } = request.told.event;
    if (options.pace === true && before !== null) await pause(time - before);
    before = time;
    const outcome = await player.play(request);
    counts.requests += 1;
    const judged = judge(request, outcome, ignored);
    counts[judged.verdict] += 1;
    counts.ignored += judged.ignored;
    if (judged.verdict === 'equal' || judged.verdict === 'unanswered') continue;
    if (options.json === true) print(toJson({ ...requestJson(request), ...judged }));
    else for (const line of requestLines(request, judged)) print(line);
    // A server that has gone answers nothing more.
    if (judged.verdict === 'failed') break;
  }
  const { unexpected, unasked } = player;
  return {
    ...counts,
    skipped: script.requests.length - counts.requests,
    unexpected,
    unasked,
    leftOut: script.leftOut,
  };
}

function requestJson({ told }: ScriptedRequest): object {
  return { number: told.number, command: told.message.name, id: told.message.header.messageId };
}

function pause(nanoseconds: bigint): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Number(nanoseconds / 1_000_000n)));
}
