import type { Rule } from '../finding.ts';
import { textAt } from '../json-value.ts';
import { isQemu, processText } from '../process-facts.ts';
import type { DeviceFacts, SocketFacts } from '../socket-facts.ts';
import { deviceRule } from './device-rule.ts';

const MiB = 1024n * 1024n;

/** Bytes that the device may write, as the server tells; 0 where it does not. */
function bytesAt({ description }: DeviceFacts, name: 'dmaDirect' | 'dmaByMessage'): bigint {
  const text = textAt(description.server, 'main', name);
  return text !== null && /^\d{1,20}$/.test(text) ? BigInt(text) : 0n;
}

const SHARE =
  'start QEMU with -object memory-backend-memfd,id=mem0,size=...,share=on and -machine ...,memory-backend=mem0';

/** Whether the device and its guest see the same memory, and whether writes of the device are noticed. */
export const guestMemoryRules: readonly Rule<SocketFacts>[] = [
  deviceRule({
    id: 'memory-private',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ vmm, qemu }) =>
      vmm === null || qemu === null || qemu.privateBackends.length === 0
        ? null
        : `${processText(vmm)} does not share its guest memory: ${qemu.privateBackends.join(', ')} without share=on`,
    why: 'QEMU sends its fds all the same, but they lead to a copy: what the device writes never reaches the guest.',
    next: () => [SHARE],
  }),
  deviceRule({
    id: 'memory-by-message',
    certainty: 'certain',
    effect: 'endangers',
    finding: (device) => {
      const [direct, message] = [bytesAt(device, 'dmaDirect'), bytesAt(device, 'dmaByMessage')];
      // ROM areas and BARs come without fds from every QEMU; guest memory is larger than they are together.
      return message >= 16n * MiB && message > direct
        ? `${message / MiB} MiB of guest memory are not shared; the VMM shares ${direct / MiB} MiB`
        : null;
    },
    why: 'Each access of the device is a message to the VMM and back: slow, and no page of it can be logged by the server.',
    next: () => [SHARE],
  }),
  deviceRule({
    id: 'memory-cannot-be-shared',
    certainty: 'likely',
    effect: 'endangers',
    finding: (device) =>
      device.vmm !== null && device.qemu?.noBackend === true && bytesAt(device, 'dmaByMessage') === 0n
        ? `${processText(device.vmm)} has no memory backend on its command line`
        : null,
    why: 'With a plain -m its guest memory has no fd, and DMA goes by messages.',
    next: () => [SHARE],
  }),
  deviceRule({
    id: 'no-dma-log',
    certainty: 'likely',
    effect: 'endangers',
    finding: ({ logsDma, description }) =>
      logsDma === false && description.migration.flags !== null
        ? 'the server does not log the DMA writes of its device'
        : null,
    why: 'When the whole VM moves, nobody knows which guest memory the device has written; all of it counts as dirty.',
    next: () => [
      'a device that writes no guest memory: nothing',
      'else offer device features 6 to 8 (DMA_LOGGING_START, STOP, REPORT)',
    ],
  }),
  deviceRule({
    id: 'viommu',
    certainty: 'likely',
    effect: 'endangers',
    finding: ({ vmm, qemu }) =>
      vmm !== null && isQemu(vmm) && qemu !== null && qemu.viommu !== null
        ? `${processText(vmm)} has an emulated IOMMU (${qemu.viommu})`
        : null,
    why: 'Guest addresses then change with the IOMMU tables, and ferry vm migrate refuses such a VM.',
    next: () => ['leave the emulated IOMMU out if the guest does not need it'],
  }),
  deviceRule({
    id: 'machine-without-ecam',
    certainty: 'likely',
    effect: 'endangers',
    finding: ({ vmm, qemu }) =>
      vmm !== null && isQemu(vmm) && qemu !== null && (qemu.machine === null || qemu.machine === 'pc')
        ? `${processText(vmm)} is a machine of type ${qemu.machine ?? 'pc (the default)'}`
        : null,
    why: 'ferry vm migrate gives the destination its configuration space through ECAM, which this machine does not have.',
    next: () => ['use -machine q35'],
  }),
];
