import { Command } from 'commander';
import { makeTestCertificates } from '../../channel/index.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { print } from '../output/terminal.ts';

const HELP = `
For trials: the certificates are valid for 30 days, and the key of the authority is thrown away, so that nobody can make
another one. The command openssl has to be installed.

Examples:
  ferry test-ca tls a.example b.example
${EXIT_CODES_HELP}`;

/** `ferry test-ca`. */
export function testCaCommand(): Command {
  return new Command('test-ca')
    .description('make certificates for ferry migrate --to and ferry receive, for trials')
    .argument('<folder>', 'where to: ca.pem, and NAME.pem with NAME.key for each name')
    .argument('<name...>', 'host names or IP addresses')
    .addHelpText('after', HELP)
    .action(make);
}

async function make(folder: string, names: readonly string[]): Promise<void> {
  const { ca, hosts } = await makeTestCertificates(folder, names);
  print(`authority ${ca}`);
  for (const [name, { cert, key }] of hosts)
    print(`${name}: --tls-ca ${ca} --tls-cert ${cert} --tls-key ${key}`);
}
