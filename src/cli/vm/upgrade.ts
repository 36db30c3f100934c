import { Command } from 'commander';
import { type UpgradeReport, upgradeVm } from '../../vm/index.ts';
import { addJournalOption, forgetOld, journalsIn } from '../options/journal-options.ts';
import { counted, formatMs } from '../options/quantities.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { outColors as colors } from '../output/colors.ts';
import { print, toJson } from '../output/terminal.ts';
import { addVmOptions, parseDevice, sideOf, type VmOptions } from './vm-options.ts';

interface Options extends Omit<VmOptions, 'gdb'> {
  readonly toQmp: string;
  readonly toGdb: string;
  readonly main: string;
  readonly cpr: string;
  readonly dryRun?: boolean;
  readonly journal?: string;
}

const HELP = `
The new QEMU is started as the old one was, with the same sockets of devices, and waits:

  -machine ...,aux-ram-share=on                      (the old one too; all memory with share=on)
  -incoming unix:MAIN -incoming '{"channel-type":"cpr","addr":{"transport":"socket","type":"unix","path":"CPR"}}'
  -qmp unix:NEW.qmp,server=on,wait=off -gdb unix:PRIVATE/new.gdb,server=on,wait=off

It gets the guest's very memory, and connects to the same servers anew; these keep the states of the devices meanwhile.
Whatever fails before it has taken a device leaves the VM running in the old QEMU. After that (exit code 3) the VM stands
still: start a new QEMU again, and say ferry recover, or the same command. That also finishes what was interrupted. In the
end the old QEMU has been ended.

Examples:
  ferry vm upgrade --qmp old.qmp --to-qmp new.qmp --to-gdb private/new.gdb --main main.sock --cpr cpr.sock disk.sock nic.sock
${EXIT_CODES_HELP}`;

/** `ferry vm upgrade`. */
export function vmUpgradeCommand(): Command {
  const command = new Command('upgrade')
    .description('pass a running VM and its devices to a new QEMU of this host (cpr-transfer)')
    .argument('<device...>', '[ID@]PATH of all its vfio-user devices; ID is what QEMU calls it')
    .requiredOption('--qmp <path>', "socket of the old QEMU's monitor (QMP)")
    .requiredOption('--to-qmp <path>', "where the new QEMU's monitor will be")
    .requiredOption(
      '--to-gdb <path>',
      "where the new QEMU's gdb stub will be, in a directory that nobody else can enter",
    )
    .requiredOption('--main <path>', 'where the new QEMU waits for its state (-incoming unix:PATH)')
    .requiredOption('--cpr <path>', 'where it waits for its memory (-incoming of the type cpr)')
    .option('--dry-run', 'look at everything that can be looked at, and stop there');
  return addVmOptions(addJournalOption(command)).addHelpText('after', HELP).action(upgrade);
}

async function upgrade(devices: readonly string[], options: Options): Promise<void> {
  const { qmp, toQmp, toGdb, main, cpr, dryRun = false, scratch, timeout, json } = options;
  const common = {
    ...(scratch === undefined ? {} : { scratch }),
    ...(timeout === undefined ? {} : { timeout }),
  };
  const journals = journalsIn(options.journal);
  const report = await upgradeVm({
    ...sideOf(qmp, devices.map(parseDevice), common),
    ...{ channels: { main, cpr }, newMonitorPath: toQmp, newGdbPath: toGdb, dryRun, journals },
  });
  if (!dryRun) await forgetOld(journals);
  if (json === true) return print(toJson(report));
  for (const line of linesOf(report, options)) print(line);
}

function linesOf({ devices, blackoutMs, steps, notes }: UpgradeReport, { qmp, toQmp }: Options): string[] {
  const what = `The VM and ${counted(devices.length, 'device')}`;
  const told = notes.map((note) => `  note: ${note}`);
  if (blackoutMs === null)
    return [`${what} of ${qmp} can pass to another QEMU; nothing was changed.`, ...told];
  return [
    `${what} run in the QEMU of ${toQmp}; the old one has ended.`,
    `  blackout ${colors.bold(formatMs(blackoutMs))}`,
    ...steps.map(({ name, ms }) => `    ${name} ${formatMs(ms)}`),
    ...told,
  ];
}
