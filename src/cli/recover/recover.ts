import { hostname, userInfo } from 'node:os';
import { Command } from 'commander';
import type { Recovery } from '../../engine/index.ts';
import type { JournalKey, JournalReading, JournalRole, Journals } from '../../journal/index.ts';
import { stateName } from '../../states/index.ts';
import { addTlsOptions, type ChannelOptions } from '../options/channel-options.ts';
import { addConfigurationOption, type ConfigurationOption } from '../options/configuration-option.ts';
import { addJournalOption, journalsIn } from '../options/journal-options.ts';
import { wholeNumber } from '../options/quantities.ts';
import { EXIT_CODES_HELP, ExitCode } from '../outcome/exit-code.ts';
import { ExitRequest } from '../outcome/exit-request.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { print, toJson } from '../output/terminal.ts';
import { type Found, findJournals, readPeer } from './kept-journals.ts';
import { recoverSide, type SideRecovery } from './recover-side.ts';

interface Options extends Partial<ChannelOptions>, ConfigurationOption {
  readonly journal?: string;
  readonly peer?: string;
  readonly to?: string;
  readonly force?: boolean;
  readonly why?: string;
  readonly timeout?: number;
  readonly json?: boolean;
}

const HELP = `
WHICH is the name of a migration or the beginning of it, one of its devices, or a journal's file; without it, the one
migration here that has not ended. Each side of a migration has a journal. A device or a file names one side; otherwise
all sides are recovered whose journals are here. What decides is COMMIT in the journal of the sender: without it the source has the devices, with it
the destination.

A receiver that still waits is told the outcome by the recovery of the sender. Where that can't be, bring the other
side's journal and name it with --peer. In doubt nothing is changed, and the exit code is 3.

An interrupted ferry vm upgrade is finished too: the VM goes on in the old QEMU, or in the new one if that has taken a
device. Where neither can, exit code 3 and what to do.

--force decides for the side on which it is typed, against the doubt. Do that only when you are certain that the other
side never runs the devices again: it is switched off, or they have been reset there.

Examples:
  ferry recover
  ferry recover 4b40f97e
  ferry recover /tmp/b.sock --peer /tmp/from-host-a/4b40f97e...-sender.journal
  ferry recover /tmp/b.sock --force --why 'host a has burnt down'
${EXIT_CODES_HELP}`;

/** `ferry recover`. */
export function recoverCommandLine(): Command {
  const command = new Command('recover')
    .description('finish what an interrupted migration has left behind')
    .argument('[which]', 'a journal, a migration, or a device')
    .option('--peer <file>', "the other side's journal, brought here")
    .option('--to <address>', 'where the receiver waits, if the journal does not tell');
  return addConfigurationOption(addTlsOptions(addJournalOption(command)))
    .option('--force', 'decide for this side: the other one never runs the devices again')
    .option('--why <text>', 'with --force: how you know that; kept in the journal')
    .option('--timeout <ms>', 'how long each request may take (default: 5000)', wholeNumber(1))
    .option('--json', 'print JSON')
    .addHelpText('after', HELP)
    .action(run);
}

async function run(which: string | undefined, options: Options): Promise<void> {
  const journals = journalsIn(options.journal);
  const found = await findJournals(which, journals);
  if (found === null) return tellNothing(journals, options);
  const sides = sidesOf(found, options);
  const results: SideRecovery[] = [];
  // The sender first: its recovery may end the wait of the receiver. What ends there is told to the sender's journal.
  for (const role of ['sender', 'receiver'] as const) {
    if (sides.includes(role)) results.push(await recoverOne(found, role, options));
  }
  if (results.length === 2) results[0] = await recoverOne(found, 'sender', options);
  if (options.json === true) print(toJson({ group: found.group, sides: results }));
  else for (const line of results.flatMap(linesOf)) print(line);
  const worst = Math.max(...results.map(exitCodeOf));
  if (worst !== ExitCode.OK) throw new ExitRequest(ExitCode.IN_DOUBT);
}

function tellNothing({ name }: Journals, { json }: Options): void {
  if (json === true) print(toJson({ group: null, sides: [] }));
  else print(`Every migration that has left a journal in ${name} has ended: there is nothing to do.`);
}

/** Who decides against a doubt decides for one side. */
function sidesOf({ roles, meant }: Found, { force }: Options): readonly JournalRole[] {
  if (force !== true) return meant.length === 1 ? meant : roles;
  if (meant.length === 1) return meant;
  throw new UsageError('--force decides for one side: name one of its devices, or its journal');
}

async function recoverOne(found: Found, role: JournalRole, options: Options): Promise<SideRecovery> {
  const key: JournalKey = { group: found.group, role };
  return recoverSide(found.journals, key, {
    ...options,
    peerJournal: await peerOf(found, role, options.peer),
    force: options.force === true ? { who: whoami(), why: options.why ?? 'not said' } : null,
  });
}

function peerOf(found: Found, role: JournalRole, file: string | undefined): Promise<JournalReading | null> {
  const key: JournalKey = { group: found.group, role: role === 'sender' ? 'receiver' : 'sender' };
  if (file !== undefined) return readPeer(file, key);
  return found.roles.includes(key.role) ? found.journals.read(key) : Promise.resolve(null);
}

function whoami(): string {
  return `${userInfo().username}@${hostname()}`;
}

function exitCodeOf({ recovery }: SideRecovery): ExitCode {
  if (recovery === null) return ExitCode.OK;
  const { owner, complete, lost } = recovery;
  return owner !== 'in doubt' && complete && lost.length === 0 ? ExitCode.OK : ExitCode.IN_DOUBT;
}

function linesOf({ role, upgrade, devices, recovery }: SideRecovery): string[] {
  const side = role === 'sender' ? 'source' : 'destination';
  const end = upgrade ? 'upgrade' : side;
  if (recovery === null) return [`${end}: its process is still at work, and ends this by itself`];
  const states = devices.map((name, i) => `  ${name} ${placed(recovery, i)}`);
  const next = recovery.nextSteps.map((step) => `  next: ${step}`);
  return [`${end}: ${recovery.outcome}`, ...states, ...next];
}

function placed({ states }: Recovery, index: number): string {
  const state = states[index] ?? null;
  return state === null ? 'does not answer' : `is in ${stateName(state)}`;
}
