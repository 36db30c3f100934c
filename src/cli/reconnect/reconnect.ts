import { Argument, Command } from 'commander';
import type { ReconnectionChoice, ReconnectionStatus } from '../../client/index.ts';
import { stateName } from '../../states/index.ts';
import { withControl } from '../access/control.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { print, toJson } from '../output/terminal.ts';

interface Options {
  readonly json?: boolean;
}

const CHOICES: readonly ReconnectionChoice[] = ['keep', 'reset', 'continue'];

const HELP = `
A VMM that starts anew, or that is replaced while its guest goes on (QEMU's cpr-exec and cpr-transfer), connects again
and resets its devices. The server listens for it; this command says what becomes of the device's state:

  keep       from now on the state is kept: when its VMM goes away the device stands still, and a VMM that comes back
             can't reset it until one of the next two is said
  reset      from now on a VMM resets as it likes; a state that is kept now is reset
  continue   the state that is kept goes on with the VMM that has come back

Without a choice it shows how things are, with the configuration space as the VMM left it: whoever replaces a VMM writes
BARs, COMMAND, the MSI-X table and MSI-X control again before the guest runs.

Examples:
  ferry reconnect /tmp/a.sock keep
  ferry reconnect /tmp/a.sock
  ferry reconnect /tmp/a.sock continue
${EXIT_CODES_HELP}`;

/** `ferry reconnect`. */
export function reconnectCommand(): Command {
  return new Command('reconnect')
    .description("say what becomes of a device's state when its VMM comes back")
    .argument('<control>', 'either socket of the server')
    .addArgument(new Argument('[choice]', CHOICES.join(', ')).choices(CHOICES))
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(reconnect);
}

async function reconnect(path: string, choice: string | undefined, options: Options): Promise<void> {
  const known = CHOICES.find((each) => each === choice) ?? null;
  const status = await withControl(path, (client) => client.reconnection(known));
  if (options.json === true) print(toJson(jsonOf(status)));
  else for (const line of linesOf(status)) print(line);
}

function jsonOf({ policy, kept, state }: ReconnectionStatus): object {
  const configuration = kept === null ? null : Buffer.from(kept.configuration).toString('hex');
  return { policy, kept: kept === null ? null : { ...kept, configuration }, state: stateName(state) };
}

function linesOf({ policy, kept, state }: ReconnectionStatus): string[] {
  const next = policy === 'keep' ? 'its state is kept' : 'its resets are carried out';
  return [`when the VMM comes back: ${next}`, ...(kept === null ? [] : keptLines(kept, state))];
}

function keptLines(kept: NonNullable<ReconnectionStatus['kept']>, state: number): string[] {
  const since = new Date(kept.sinceMs).toISOString();
  const who = kept.returned
    ? `a VMM has come, ${kept.withheldResets} of its resets withheld`
    : 'no VMM has come yet';
  return [`a state is kept since ${since}, in ${stateName(state)}: ${who}`];
}
