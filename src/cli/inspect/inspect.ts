import { Command } from 'commander';
import { DEVICE_HELP, withDevice } from '../access/device-access.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { print, toJson } from '../output/terminal.ts';
import { descriptionJson } from './description-json.ts';
import { describeDevice } from './description-text.ts';

const HELP = `
Nothing is changed: a VMM that is connected does not notice. Works with any vfio-user server; one that is not Ferry has
no control socket, and then its main socket must be free.
${DEVICE_HELP}

Examples:
  ferry inspect /tmp/a.sock
  ferry inspect /tmp/a.sock.control --json
  ferry inspect 0000:00:05.0
${EXIT_CODES_HELP}`;

/** `ferry inspect`. */
export function inspectCommand(): Command {
  return new Command('inspect')
    .description('show a device: what lspci -vvv shows, regions, interrupts, migration')
    .argument('<device>', 'either socket of its server, or a device of the kernel')
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(inspect);
}

async function inspect(path: string, options: { readonly json?: boolean }): Promise<void> {
  const description = await withDevice(path, (client) => client.describe());
  if (options.json === true) print(toJson(descriptionJson(description)));
  else for (const line of describeDevice(description)) print(line);
}
