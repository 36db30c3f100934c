import { Command, Option } from 'commander';
import { FORMATS, UnknownRuleError } from '../../check/index.ts';
import { wholeNumber } from '../options/quantities.ts';
import { UsageError } from '../outcome/usage-error.ts';
import {
  AS_SERVER_HELP,
  type AsServerOptions,
  addAsServerOptions,
  checkAsServer,
  clientRules,
  listBehaviours,
} from './as-server.ts';
import { addNames, severities } from './check-options.ts';
import { checkServerCommand, listRules, serverRules } from './check-server-command.ts';

const HELP = `
A running server is only asked what does not change its device, and must have no other client: most servers serve one
at a time. With --spawn the suite starts servers of its own, so that rules which change, reset, move or attack a device
are tried too, and more than one server where a device is moved. {socket} in the command is the path where it has to
listen; {control}, if it is there, that of a socket on which a device is migrated while a client has the main one.

What the suite can not decide, for a reason of its own, is inconclusive, and never counts against the server.

Examples:
  ferry check /tmp/a.sock
  ferry check --spawn 'ferry serve edu --socket-path {socket} --no-control'
  ferry check --spawn './my-server {socket}' --severity must,should --skip hostile,leaks.memory
  ferry check --spawn './my-server {socket}' --only 'states.*' --format junit --output report.xml
  ferry check --list --only logging

Exit codes:
  0  no rule is broken
  1  a rule is broken, or there is no server that could be tried
  2  the command line is wrong
  3  no rule is broken, but some could not be decided, or it was interrupted`;

/** `ferry check`. */
export function checkCommand(): Command {
  const command = new Command('check')
    .description(
      'hold a vfio-user server against the rules of the protocol, with or without a device of its own',
    )
    .argument('[socket]', 'main socket of a server that runs')
    .option('--spawn <command>', 'start servers with this line of the shell, with {socket} in it')
    .option('--control <path>', "a running server's control socket, for what concerns migration")
    .option('--only <rules>', 'ids, areas, or ids with *; with commas, may be repeated', addNames)
    .option('--skip <rules>', 'the same, for rules that are left out', addNames)
    .option('--severity <list>', 'must, should, interoperability, hardening', severities)
    .option('--list', 'show the rules, and try none')
    .addOption(new Option('--format <format>', 'form of the report').choices(FORMATS).default('people'))
    .option('--output <file>', 'write the report there')
    .option('--timeout <ms>', 'how long the server may take for each answer', wholeNumber(1), 5000)
    .option('--seed <number>', 'repeat what is random', wholeNumber(0, 0x7fff_ffff), 1);
  return addAsServerOptions(command).addHelpText('after', `${HELP}\n${AS_SERVER_HELP}`).action(check);
}

/** A rule that is not there is a mistake in the command line. */
async function check(socket: string | undefined, options: AsServerOptions): Promise<void> {
  try {
    await checkOrList(socket, options);
  } catch (error) {
    throw error instanceof UnknownRuleError ? new UsageError(error.message) : error;
  }
}

async function checkOrList(socket: string | undefined, options: AsServerOptions): Promise<void> {
  if (options.asServer === true && options.list !== true) return await checkAsServer(socket, options);
  if (options.list === true) return list(options);
  await checkServerCommand(socket, options);
}

function list(options: AsServerOptions): void {
  listRules(options.asServer === true ? clientRules : serverRules, options);
  if (options.asServer === true && options.format !== 'json') listBehaviours(options);
}
