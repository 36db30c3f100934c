import type { Rule } from '../finding.ts';
import type { KernelDeviceFacts, MachineFacts } from '../kernel-facts.ts';
import type { SocketFacts } from '../socket-facts.ts';
import { conversationRules } from './conversation.ts';
import { guestMemoryRules } from './guest-memory.ts';
import { kernelDeviceRules } from './kernel-device.ts';
import { kernelMigrationRules } from './kernel-migration.ts';
import { machineRules } from './machine.ts';
import { migrationRules } from './migration.ts';
import { ownershipRules } from './ownership.ts';
import { pciLayoutRules } from './pci-layout.ts';
import { peerRules } from './peers.ts';
import { qemuLimitRules } from './qemu-limits.ts';
import { qemuVfioPciRules } from './qemu-vfio-pci.ts';
import { socketRules } from './socket.ts';

/** Everything that is looked for behind a vfio-user socket. */
export const SOCKET_RULES: readonly Rule<SocketFacts>[] = [
  ...socketRules,
  ...conversationRules,
  ...ownershipRules,
  ...migrationRules,
  ...guestMemoryRules,
  ...qemuLimitRules,
  ...pciLayoutRules,
  ...peerRules,
];

/** Everything that is looked for on a machine. */
export const MACHINE_RULES: readonly Rule<MachineFacts>[] = machineRules;

/** Everything that is looked for at a device of the kernel, the machine included. */
export const KERNEL_DEVICE_RULES: readonly Rule<KernelDeviceFacts>[] = [
  ...kernelDeviceRules,
  ...kernelMigrationRules,
  ...qemuVfioPciRules,
  ...machineRules.map(({ finding, next, ...rule }) => ({
    ...rule,
    finding: ({ exists, machine }: KernelDeviceFacts) => (exists ? finding(machine) : null),
    next: ({ machine }: KernelDeviceFacts) => next(machine),
  })),
];
