import { Command } from 'commander';
import { vmCheckCommand } from './check.ts';
import { vmMigrateCommand } from './migrate.ts';
import { vmReceiveCommand } from './receive.ts';
import { vmUpgradeCommand } from './upgrade.ts';

const HELP = `
QEMU migrates a VM with vfio-user devices, says that it has completed, and has lost the devices: at the destination they
are as after a reset, and what they wrote to the guest's memory is stale. These commands move the VM and its devices as
one. They need QEMU 10.1 or newer with the machine q35, devices served by ferry serve, and at the destination a QEMU that
was started with the same devices in the same places, -incoming defer, and -gdb on a socket that nobody else can open.

ferry vm upgrade passes a VM to a new QEMU of the same host, which gets its very memory; the servers stay the same.`;

/** `ferry vm`. */
export function vmCommand(): Command {
  return new Command('vm')
    .description('move whole VMs of QEMU with their devices')
    .addHelpText('after', HELP)
    .addCommand(vmMigrateCommand())
    .addCommand(vmReceiveCommand())
    .addCommand(vmCheckCommand())
    .addCommand(vmUpgradeCommand());
}
