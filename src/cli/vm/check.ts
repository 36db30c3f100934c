import { Command } from 'commander';
import { openSource, openTarget } from '../../vm/index.ts';
import { EXIT_CODES_HELP } from '../outcome/exit-code.ts';
import { print, toJson } from '../output/terminal.ts';
import { addVmOptions, parseDevice, sideOf, type VmOptions } from './vm-options.ts';

const HELP = `
With --gdb the VM is examined as a destination, otherwise as a source. Nothing is changed. What speaks against it is said,
each thing with what to do, and the exit code is 1. Whether two sides fit is what ferry vm migrate --dry-run finds out.

Examples:
  ferry vm check --qmp /run/vm/a.qmp /run/vm/disk.sock /run/vm/nic.sock
  ferry vm check --qmp /run/vm/b.qmp --gdb /run/vm/private/b.gdb disk0@/run/vm/disk-b.sock
${EXIT_CODES_HELP}`;

/** `ferry vm check`. */
export function vmCheckCommand(): Command {
  const command = new Command('check')
    .description('say whether a VM can be moved, or can take one, as it is')
    .argument('<device...>', '[ID@]PATH of all its vfio-user devices; ID is what QEMU calls it')
    .requiredOption('--qmp <path>', 'socket of the monitor (QMP)')
    .option('--gdb <path>', 'socket of the gdb stub of a destination');
  return addVmOptions(command).addHelpText('after', HELP).action(check);
}

async function check(devices: readonly string[], options: VmOptions): Promise<void> {
  const side = sideOf(options.qmp, devices.map(parseDevice), options);
  const role = options.gdb === undefined ? 'source' : 'destination';
  const opened = role === 'source' ? await openSource(side) : await openTarget(side);
  try {
    const { examined, notes } = opened;
    const { machine } = examined;
    if (options.json === true) return print(toJson({ role, machine, devices: examined.devices, notes }));
    print(`The VM of ${options.qmp} can be the ${role}: ${machine.type}, QEMU ${machine.version.join('.')}`);
    for (const { id, place } of examined.devices) print(`  ${id} at ${place}`);
    for (const note of notes) print(`  note: ${note}`);
  } finally {
    await opened.close();
  }
}
