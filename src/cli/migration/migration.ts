import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { Errno, FerryError } from '../../errors/index.ts';
import { askLine } from '../access/line-socket.ts';
import { field, numberOf, textOf } from '../access/server-report.ts';
import { addJournalOption, journalsIn } from '../options/journal-options.ts';
import { formatBytes, formatMs, parseBytes, wholeNumber } from '../options/quantities.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { print, toJson } from '../output/terminal.ts';
import type { OperatorRequest } from './operator-request.ts';
import { OPERATOR_SUFFIX } from './operator-socket.ts';

interface Options {
  readonly journal?: string;
  readonly downtimeLimit?: number;
  readonly bandwidth?: number;
  readonly json?: boolean;
}

const HELP = `
MIGRATION is the beginning of its name; without it, the only one that this user has under way by ferry migrate --to.

  status     how it goes
  pause      go on with rounds of pre-copy, but do not stop the guest until told to continue
  continue   stop the guest as soon as that fits into the limits
  cancel     give it up, as long as it is not decided: the source runs on
  limits     change --downtime-limit and --bandwidth from now on

Examples:
  ferry migration status
  ferry migration limits 4b40f97e --downtime-limit 1000 --bandwidth 200M
${EXIT_CODES_HELP}`;

const WHAT = ['status', 'pause', 'continue', 'cancel', 'limits'] as const;

/** `ferry migration`. */
export function migrationCommand(): Command {
  const command = new Command('migration')
    .description('look at a migration that goes on, and change how it does')
    .argument('<what>', WHAT.join(', '))
    .argument('[migration]', 'the beginning of its name')
    .option('--downtime-limit <ms>', 'limits: how long the guest may stand still', wholeNumber(1))
    .option('--bandwidth <bytes>', 'limits: bytes per second at most, such as 100M', parseBytes);
  return addJournalOption(command).option('--json', 'print JSON').addHelpText('after', HELP).action(run);
}

async function run(what: string, name: string | undefined, options: Options): Promise<void> {
  const request = requestFor(what, options);
  const answer = await ask(socketOf(name ?? '', options.journal), request);
  const error = textOf(answer, 'error');
  if (error !== undefined) throw new FerryError('ERR_REFUSED', error, { errno: Errno.EINVAL });
  if (options.json === true) print(toJson(answer));
  else print(lineOf(field(answer, 'status')));
}

function requestFor(what: string, { downtimeLimit, bandwidth }: Options): OperatorRequest {
  const known = WHAT.find((each) => each === what);
  if (known === undefined) throw new UsageError(`write one of ${WHAT.join(', ')}`);
  const limits = {
    ...(downtimeLimit === undefined ? {} : { downtimeMs: downtimeLimit }),
    ...(bandwidth === undefined ? {} : { bytesPerSecond: bandwidth }),
  };
  const changes = Object.keys(limits).length > 0;
  if (changes !== (known === 'limits')) {
    throw new UsageError('--downtime-limit and --bandwidth go with limits, which needs one of them');
  }
  return known === 'limits' ? { do: known, ...limits } : { do: known };
}

function socketOf(name: string, journal: string | undefined): string {
  const directory = journalsIn(journal).name;
  const found = namesIn(directory).filter((each) => each.endsWith(OPERATOR_SUFFIX) && each.startsWith(name));
  const [one] = found;
  if (found.length > 1)
    throw new UsageError(`${found.length} migrations are meant: name one of ${found.join(', ')}`);
  if (one !== undefined) return join(directory, one);
  const message = `no migration${name === '' ? '' : ` ${name}`} is under way in ${directory}`;
  throw new FerryError('ERR_NO_MIGRATION', message, { errno: Errno.ENOENT, context: { directory } });
}

function namesIn(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

/** How long an answer may take, in milliseconds. */
const PATIENCE_MS = 5_000;

function ask(path: string, request: OperatorRequest): Promise<unknown> {
  return askLine(path, toJson(request), PATIENCE_MS, (why) => {
    const message = `the migration does not answer: ${why}. It may have ended`;
    return new FerryError('ERR_NO_MIGRATION', message, { errno: Errno.ECONNREFUSED, context: { path } });
  });
}

function lineOf(status: unknown): string {
  if (status === null || status === undefined) return 'it has not started';
  const round = numberOf(status, 'iteration');
  const remaining = field(status, 'remaining');
  const estimate = field(status, 'estimatedDowntimeMs');
  const limits = field(status, 'limits');
  return [
    `${textOf(status, 'phase') ?? '?'}${round > 0 ? ` ${round}` : ''}`,
    ...(field(status, 'waiting') === true ? ['waits to be told to continue'] : []),
    `${formatBytes(numberOf(status, 'bytes'))} at ${formatBytes(numberOf(status, 'rate'))}/s`,
    ...(typeof remaining === 'number' ? [`${formatBytes(remaining)} left`] : []),
    ...(typeof estimate === 'number' ? [`downtime about ${formatMs(estimate)}`] : []),
    `at most ${formatMs(numberOf(limits, 'downtimeMs'))}`,
  ].join(', ');
}
