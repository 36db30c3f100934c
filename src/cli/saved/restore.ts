import { randomBytes } from 'node:crypto';
import { Command } from 'commander';
import { restore } from '../../engine/index.ts';
import { Errno, FerryError } from '../../errors/index.ts';
import { storyOfReception } from '../../report/index.ts';
import { closingNotes, DEVICE_HELP } from '../access/device-access.ts';
import { connectGroup, type DeviceGroup } from '../access/device-group.ts';
import { field } from '../access/server-report.ts';
import {
  addConfigurationOption,
  type ConfigurationOption,
  endOptionsOf,
} from '../options/configuration-option.ts';
import { addJournalOption, forgetOld, journalsIn, recoverCommand } from '../options/journal-options.ts';
import { timeoutOf } from '../options/limit-options.ts';
import { wholeNumber } from '../options/quantities.ts';
import { addReportOption, type ReportOption, reported } from '../options/report-option.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { migrationView } from '../output/migration-view.ts';
import { receptionLines } from '../output/summary.ts';
import { print, printError, toJson } from '../output/terminal.ts';
import { addKeyOptions, type KeyOptions } from './key-options.ts';
import { sourceAt } from './saved-file.ts';

interface Options extends ConfigurationOption, KeyOptions, ReportOption {
  readonly force?: boolean;
  readonly journal?: string;
  readonly timeout?: number;
  readonly json?: boolean;
}

const HELP = `
The devices must be what was saved, in the same order. What is in them is replaced; afterwards they run, or stay stopped
if their guest was paused when they were saved. A file is verified before any device is touched; a pipe (FILE is -) while
it is read: no device runs before the last byte has been verified.

A device with a VMM connected is refused without --force: a guest that runs there would find other hardware. --force is
right when that guest is paused and waits for this state.
${DEVICE_HELP}

Examples:
  ferry restore a.ferry /tmp/b.sock
  ferry restore both.ferry /tmp/disk.sock /tmp/nic.sock --key-file ferry.key
${EXIT_CODES_HELP}`;

/** `ferry restore`. */
export function restoreCommand(): Command {
  const command = new Command('restore')
    .description('give devices a state that was saved')
    .argument('<file>', 'what ferry save has written')
    .argument('<control...>', 'control or main sockets of the servers that are to get it');
  return addReportOption(addJournalOption(addConfigurationOption(addKeyOptions(command))))
    .option('--force', 'also when a VMM is connected, or a device of a group has no P2P states')
    .option('--timeout <ms>', 'how long each request may take (default: 5000)', wholeNumber(1))
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(run);
}

const GROUP_SIZE = 16;

async function run(path: string, paths: readonly string[], options: Options): Promise<void> {
  const { force = false, journal, json = false } = options;
  const devices = await connectGroup(paths, options.timeout, endOptionsOf(options));
  const view = migrationView(json);
  const group = randomBytes(GROUP_SIZE).toString('hex');
  try {
    if (!force) await requireUnused(devices);
    const source = await sourceAt(path, options);
    try {
      const ends = await devices.ends();
      const work = () =>
        restore({
          ...{ source, group, force, devices: ends, journals: journalsIn(journal) },
          peer: { devices: null, recover: recoverCommand(group, journal) },
          ...timeoutOf(options),
          onProgress: (progress) => view.show(progress),
        });
      const report = await reported(options, 'Restoration', work, (it) =>
        storyOfReception(it, 'Restoration'),
      );
      view.close();
      for (const note of closingNotes(devices.clients)) printError(note);
      if (json) return print(toJson(report));
      for (const line of receptionLines(namesOf(devices), report)) print(line);
    } finally {
      await source.close();
      await forgetOld(journalsIn(journal));
    }
  } finally {
    view.close();
    devices.close();
  }
}

function namesOf({ clients }: DeviceGroup): readonly string[] {
  return clients.map(({ path }) => path);
}

async function requireUnused({ clients }: DeviceGroup): Promise<void> {
  for (const client of clients) {
    const report = await client.inspectServer();
    if (field(field(report, 'main'), 'connected') !== true) continue;
    const message = `a VMM is connected to the device of ${client.path}, and what it has would be replaced`;
    throw new FerryError('ERR_DEVICE_IN_USE', message, {
      errno: Errno.EBUSY,
      context: { path: client.path },
    });
  }
}
