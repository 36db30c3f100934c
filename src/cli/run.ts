import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { checkCommand } from './check/index.ts';
import { demoCommand } from './demo.ts';
import { doctorCommand } from './doctor/doctor.ts';
import { EXIT_CODES_HELP, ExitCode } from './exit-code.ts';
import { ExitRequest } from './exit-request.ts';
import { failureJson, failureOf } from './failure.ts';
import { inspectCommand } from './inspect.ts';
import { migrateCommand } from './migrate.ts';
import { migrationCommand } from './migration.ts';
import { proxyCommand } from './proxy/index.ts';
import { receiveCommand } from './receive.ts';
import { reconnectCommand } from './reconnect/index.ts';
import { recoverCommandLine } from './recover.ts';
import { restoreCommand } from './restore.ts';
import { saveCommand } from './save.ts';
import { serveCommand } from './serve.ts';
import { showCommand } from './show.ts';
import { stateCommand } from './state.ts';
import { statesCommand } from './states.ts';
import { print, printFailure, toJson } from './terminal.ts';
import { testCaCommand } from './test-ca.ts';
import { traceCommand } from './trace/index.ts';
import { upgradeCommand } from './upgrade/index.ts';
import { vmCommand } from './vm/vm.ts';

const EXAMPLES = `
Examples:
  ferry demo                                               watch a live migration
  ferry serve memory --socket-path /tmp/a.sock             serve a device
  ferry inspect /tmp/a.sock                                look at it
  ferry migrate /tmp/a.sock /tmp/b.sock                    move it to another server
  ferry receive /tmp/b.sock --listen tcp::4711             wait for one from another process or host
  ferry migrate /tmp/a.sock --to tcp:127.0.0.1:4711        and send it there
  ferry recover                                            finish what an interrupted migration has left
  ferry save /tmp/a.sock a.ferry                           write its state to a file
  ferry restore a.ferry /tmp/b.sock                        and give it to another server
  ferry check --spawn './server {socket}'                  hold a server against the rules of the protocol
  ferry doctor /tmp/a.sock                                 see why it can't be migrated
  ferry state /tmp/a.sock                                  see where a migration has left it
  ferry states path RUNNING STOP_COPY                      see what a change of state takes
${EXIT_CODES_HELP}`;

/** Runs one command line; returns the exit code. Never throws. */
export async function run(argv: readonly string[]): Promise<ExitCode> {
  try {
    await buildProgram().parseAsync(argv);
    return ExitCode.OK;
  } catch (error) {
    if (error instanceof ExitRequest) return error.exitCode;
    if (error instanceof CommanderError && error.exitCode === 0) return ExitCode.OK;
    // The help was asked for by leaving everything out; it has been printed.
    if (error instanceof CommanderError && error.code === 'commander.help') return ExitCode.USAGE;
    const failure = failureOf(error);
    if (argv.includes('--json')) print(toJson(failureJson(failure)));
    else printFailure(failure);
    return failure.exitCode;
  }
}

function buildProgram(): Command {
  const program = new Command('ferry')
    .description('Makes VFIO devices movable: serves, drives and live-migrates PCI devices over vfio-user.')
    .version(packageVersion())
    // Commands have commands of their own, whose options must not be taken by those above them.
    .enablePositionalOptions()
    .addHelpText('after', EXAMPLES);
  const commands = [
    serveCommand(),
    upgradeCommand(),
    inspectCommand(),
    migrateCommand(),
    migrationCommand(),
    receiveCommand(),
    proxyCommand(),
    reconnectCommand(),
    recoverCommandLine(),
    saveCommand(),
    restoreCommand(),
    showCommand(),
    testCaCommand(),
    stateCommand(),
    statesCommand(),
    traceCommand(),
    checkCommand(),
    doctorCommand(),
    vmCommand(),
    demoCommand(),
  ];
  for (const command of commands) program.addCommand(command);
  quiet(program);
  return program;
}

/** Errors are thrown to {@link run} instead of being printed half-way. */
function quiet(command: Command): void {
  command.exitOverride().configureOutput({ outputError: () => {} });
  for (const inner of command.commands) quiet(inner);
}

function packageVersion(): string {
  const parsed: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return typeof parsed === 'object' && parsed !== null && 'version' in parsed
    ? String(parsed.version)
    : 'unknown';
}
