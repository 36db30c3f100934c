import { Command, InvalidArgumentError, Option } from 'commander';
import type { MovableDevice } from '../../client/index.ts';
import { deviceEnd } from '../../engine/index.ts';
import { MigrationState, stateName } from '../../states/index.ts';
import { closingNotes, DEVICE_HELP, withDevice } from '../access/device-access.ts';
import { describeServer, field } from '../access/server-report.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { print, printError, toJson } from '../output/terminal.ts';
import { takeFromMigration } from './claimed-device.ts';

interface Options {
  readonly set?: MigrationState;
  readonly reset?: boolean;
  readonly force?: boolean;
  readonly json?: boolean;
}

const HELP = `
After a controller has died half-way, both devices stay where they are, and this command decides:
  RUNNING at the source and a reset destination   undo the migration
  RUNNING at the destination                      finish it, if it holds the whole state (it is in STOP)
Never let both run: the one that you do not choose stays stopped, or is reset.

A device that a migration has claimed is not changed: ferry recover knows from the journals who has it. --force takes it
from the migration all the same, and a controller that wakes up late can do nothing more to it. Only do that when you
are certain that the state runs nowhere else and never will: two copies of one device destroy what they share.
${DEVICE_HELP}

Examples:
  ferry state /tmp/a.sock
  ferry state /tmp/a.sock --set RUNNING
  ferry state /tmp/b.sock --reset
${EXIT_CODES_HELP}`;

/** `ferry state`. */
export function stateCommand(): Command {
  return new Command('state')
    .description('show or change the migration state of a device')
    .argument('<device>', 'either socket of its server, or a device of the kernel')
    .addOption(
      new Option('--set <state>', `go to a state: ${settable().join(', ')}`).argParser(parseStateName),
    )
    .addOption(new Option('--reset', 'reset the device: it runs, with its state lost').conflicts('set'))
    .option('--force', 'also when a migration has claimed the device, which is then taken from it')
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(state);
}

async function state(path: string, options: Options): Promise<void> {
  requireChange(options);
  // RUNNING also ends a hold, which a reset does not.
  const target = options.reset === true ? MigrationState.RUNNING : options.set;
  if (target !== undefined) {
    await withDevice(path, async (client) => {
      await takeFromMigration(client, options.force === true);
      const end = await deviceEnd(client);
      if (options.reset === true) await end.reset();
      await end.setState(target);
      for (const note of closingNotes([client])) printError(note);
    });
  }
  // On a connection of its own: the one that changes the state drives the migration as long as it lives.
  await withDevice(path, (client) => show(client, options.json === true));
}

function requireChange({ force, set, reset }: Options): void {
  if (force === true && set === undefined && reset !== true) {
    throw new UsageError('--force goes with --set or --reset');
  }
}

async function show(client: MovableDevice, json: boolean): Promise<void> {
  const now = stateName(await (await deviceEnd(client)).state());
  const report = await client.inspectServer();
  const part = (name: string): unknown => field(report, name) ?? null;
  const [migration, claim, hold] = [part('migration'), part('claim'), part('hold')];
  if (json) print(toJson({ state: now, migration, claim, hold }));
  else for (const line of [now, ...describeServer(report)]) print(line);
}

function settable(): string[] {
  return Object.keys(MigrationState).filter((name) => name !== 'ERROR');
}

function parseStateName(text: string): MigrationState {
  const wanted = text.toUpperCase().replaceAll('-', '_');
  const found = Object.entries(MigrationState).find(([name]) => name === wanted && name !== 'ERROR');
  if (found === undefined) throw new InvalidArgumentError(`Write one of ${settable().join(', ')}.`);
  return found[1];
}
