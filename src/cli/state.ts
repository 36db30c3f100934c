import { Command, InvalidArgumentError, Option } from 'commander';
import type { DeviceClient } from '../client/index.ts';
import { deviceEnd } from '../engine/index.ts';
import { MigrationState, stateName } from '../states/index.ts';
import { withControl } from './control.ts';
import { EXIT_CODES_HELP } from './exit-code.ts';
import { describeServer, field } from './server-report.ts';
import { print, toJson } from './terminal.ts';

interface Options {
  readonly set?: MigrationState;
  readonly reset?: boolean;
  readonly json?: boolean;
}

const HELP = `
After a controller has died half-way, both devices stay where they are, and this command decides:
  RUNNING at the source and a reset destination   undo the migration
  RUNNING at the destination                      finish it, if it holds the whole state (it is in STOP)
Never let both run: the one that you do not choose stays stopped, or is reset.

Examples:
  ferry state /tmp/a.sock
  ferry state /tmp/a.sock --set RUNNING
  ferry state /tmp/b.sock --reset
${EXIT_CODES_HELP}`;

/** `ferry state`. */
export function stateCommand(): Command {
  return new Command('state')
    .description('show or change the migration state of a served device')
    .argument('<control>', 'either socket of the server')
    .addOption(
      new Option('--set <state>', `go to a state: ${settable().join(', ')}`).argParser(parseStateName),
    )
    .addOption(new Option('--reset', 'reset the device: it runs, with its state lost').conflicts('set'))
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(state);
}

async function state(path: string, options: Options): Promise<void> {
  // RUNNING also ends a hold, which a reset does not.
  const target = options.reset === true ? MigrationState.RUNNING : options.set;
  if (target !== undefined) {
    await withControl(path, async (client) => {
      const end = await deviceEnd(client);
      if (options.reset === true) await end.reset();
      await end.setState(target);
    });
  }
  // On a connection of its own: the one that changes the state drives the migration as long as it lives.
  await withControl(path, (client) => show(client, options.json === true));
}

async function show(client: DeviceClient, json: boolean): Promise<void> {
  const now = stateName(await (await deviceEnd(client)).state());
  const report = await client.inspectServer();
  const [migration, hold] = [field(report, 'migration') ?? null, field(report, 'hold') ?? null];
  if (json) print(toJson({ state: now, migration, hold }));
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
