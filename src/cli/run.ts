import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { EXIT_CODES_HELP, ExitCode } from './outcome/exit-code.ts';
import { ExitRequest } from './outcome/exit-request.ts';
import { failureJson, failureOf } from './outcome/failure.ts';
import { print, printFailure, toJson } from './output/terminal.ts';

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

/** Each command by its name. Only the one that is asked for is loaded: all of them would take longer than most take to run. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import('./serve/serve.ts')).serveCommand(),
  upgrade: async () => (await import('./upgrade/index.ts')).upgradeCommand(),
  inspect: async () => (await import('./inspect/inspect.ts')).inspectCommand(),
  migrate: async () => (await import('./migrate/migrate.ts')).migrateCommand(),
  migration: async () => (await import('./migration/migration.ts')).migrationCommand(),
  receive: async () => (await import('./migrate/receive.ts')).receiveCommand(),
  proxy: async () => (await import('./proxy/index.ts')).proxyCommand(),
  reconnect: async () => (await import('./reconnect/index.ts')).reconnectCommand(),
  recover: async () => (await import('./recover/recover.ts')).recoverCommandLine(),
  save: async () => (await import('./saved/save.ts')).saveCommand(),
  restore: async () => (await import('./saved/restore.ts')).restoreCommand(),
  show: async () => (await import('./saved/show.ts')).showCommand(),
  'test-ca': async () => (await import('./migrate/test-ca.ts')).testCaCommand(),
  state: async () => (await import('./state/state.ts')).stateCommand(),
  states: async () => (await import('./states/states.ts')).statesCommand(),
  trace: async () => (await import('./trace/index.ts')).traceCommand(),
  check: async () => (await import('./check/index.ts')).checkCommand(),
  doctor: async () => (await import('./doctor/doctor.ts')).doctorCommand(),
  vm: async () => (await import('./vm/vm.ts')).vmCommand(),
  demo: async () => (await import('./demo/demo.ts')).demoCommand(),
};

/** Runs one command line; returns the exit code. Never throws. */
export async function run(argv: readonly string[]): Promise<ExitCode> {
  try {
    await (await buildProgram(argv[2])).parseAsync(argv);
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

/** The program with the command of that name; with none for its version, and with all of them for who needs help. */
async function buildProgram(name = ''): Promise<Command> {
  const program = new Command('ferry')
    .description('Makes VFIO devices movable: serves, drives and live-migrates PCI devices over vfio-user.')
    .version(packageVersion())
    // Commands have commands of their own, whose options must not be taken by those above them.
    .enablePositionalOptions()
    .addHelpText('after', EXAMPLES);
  for (const load of wanted(name)) program.addCommand(await load());
  quiet(program);
  return program;
}

function wanted(name: string): readonly (() => Promise<Command>)[] {
  if (name === '--version' || name === '-V') return [];
  const one = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  return one === undefined ? Object.values(COMMANDS) : [one];
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
