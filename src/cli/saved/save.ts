import { randomBytes } from 'node:crypto';
import { Command, Option } from 'commander';
import { type Channel, type CompressionMode, saveTo } from '../../channel/index.ts';
import { type Leave, type SaveReport, save } from '../../engine/index.ts';
import { storyOfSaving } from '../../report/index.ts';
import { DEVICE_HELP } from '../access/device-access.ts';
import { connectGroup } from '../access/device-group.ts';
import {
  addConfigurationOption,
  type ConfigurationOption,
  endOptionsOf,
} from '../options/configuration-option.ts';
import { addJournalOption, forgetOld, journalsIn, recoverCommand } from '../options/journal-options.ts';
import { addLimitOptions, type LimitOptions, limitsOf, timeoutOf } from '../options/limit-options.ts';
import { formatBytes, formatMs } from '../options/quantities.ts';
import { addReportOption, type ReportOption, reported } from '../options/report-option.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { onInterrupt } from '../outcome/interrupts.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { migrationView } from '../output/migration-view.ts';
import { print, printError, toJson } from '../output/terminal.ts';
import { addKeyOptions, type KeyOptions } from './key-options.ts';
import { PIPE, sinkAt } from './saved-file.ts';

interface Options extends ConfigurationOption, LimitOptions, KeyOptions, ReportOption {
  readonly compress: CompressionMode;
  readonly leave: Leave;
  readonly paused?: boolean;
  readonly force?: boolean;
  readonly journal?: string;
  readonly json?: boolean;
}

const HELP = `
The file appears under its name when it is whole and on the disk, and only its owner may read it. FILE is - for standard
output; what is told then goes to standard error.

--leave running (the default): the devices run on. What is in the file is what they were; restoring it elsewhere while
they run on makes two of them, which only you can keep apart.
--leave stopped: the file has them from then on. They never run again here unless they are taken back with
ferry recover --force.
${DEVICE_HELP}

Examples:
  ferry save /tmp/a.sock a.ferry
  ferry save /tmp/disk.sock /tmp/nic.sock both.ferry --leave stopped --key-file ferry.key
  ferry save /tmp/a.sock - | ssh far.example ferry restore - /tmp/b.sock
${EXIT_CODES_HELP}`;

/** `ferry save`. */
export function saveCommand(): Command {
  const command = new Command('save')
    .description('write the state of devices to a file')
    .argument('<control...>', 'control or main sockets of their servers, and the FILE last')
    .addOption(
      new Option('--leave <how>', 'what becomes of the devices')
        .choices(['running', 'stopped'])
        .default('running'),
    )
    .addOption(
      new Option('--compress <mode>', 'compress the file: where it pays, always, never')
        .choices(['auto', 'on', 'off'])
        .default('auto'),
    );
  return addReportOption(addJournalOption(addConfigurationOption(addLimitOptions(addKeyOptions(command)))))
    .option('--paused', 'the guest is paused, and stays so')
    .option('--force', 'save a group although a device has no P2P states')
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(run);
}

async function run(words: readonly string[], options: Options): Promise<void> {
  const [paths, path] = [words.slice(0, -1), words.at(-1)];
  if (paths.length === 0 || path === undefined) throw new UsageError('name the devices, and the file last');
  const devices = await connectGroup(paths, options.timeout, endOptionsOf(options));
  const cancel = new AbortController();
  const off = onInterrupt(() => cancel.abort());
  const view = migrationView(options.json === true);
  try {
    const ends = await devices.ends();
    const work = async () => {
      const file = await openFile(path, options);
      return save({
        ...{ file, devices: ends, signal: cancel.signal, ...saveOptions(file.peer.group, options) },
        onProgress: (progress) => view.show(progress),
      });
    };
    const report = await reported(options, 'Saving', work, storyOfSaving);
    view.close();
    tell(report, path === PIPE ? printError : print, options);
  } finally {
    view.close();
    off();
    await forgetOld(journalsIn(options.journal));
    devices.close();
  }
}

const GROUP_SIZE = 16;
/** The disk may take long: nobody's downtime depends on it while the devices run. */
const DISK_MS = 10 * 60_000;

async function openFile(path: string, { compress, ...options }: Options): Promise<Channel> {
  const sink = await sinkAt(path, options);
  const group = randomBytes(GROUP_SIZE).toString('hex');
  return saveTo(sink, { group, epoch: 1n, compression: compress });
}

function saveOptions(group: string, options: Options) {
  const { preCopy, leave, paused = false, force = false, journal } = options;
  return {
    ...{ preCopy, leave, paused, force, limits: limitsOf(options), answerTimeoutMs: DISK_MS },
    ...{ journals: journalsIn(journal), peer: { devices: null, recover: recoverCommand(group, journal) } },
    ...timeoutOf(options),
  };
}

function tell(report: SaveReport, say: (line: string) => void, { json }: Options): void {
  if (json === true) return say(toJson(report));
  const { file, fileBytes, bytes, leave, downtimeMs, totalMs } = report;
  say(`Saved to ${file}: ${formatBytes(fileBytes)} for ${formatBytes(bytes)} in ${formatMs(totalMs)}`);
  if (leave === 'running') say(`  running on, after a downtime of ${formatMs(downtimeMs)}`);
  else say('  stopped for good: the file has the state from now on');
}
