import type { DeviceInfo } from '../../client/index.ts';
import { IrqIndex, RegionIndex } from '../../protocol/index.ts';
import type { Rule } from '../finding.ts';
import { numberAt } from '../json-value.ts';
import type { DeviceFacts, SocketFacts } from '../socket-facts.ts';
import { deviceRule, joined } from './device-rule.ts';

/** Bytes of QEMU's VERSION message, which its receive buffer for the reply has too. */
const QEMU_VERSION_BYTES = 214;
/** What QEMU 10.1 to 11.1 takes from a server (hw/vfio-user/proxy.c): more is fatal. */
const LARGEST = { max_msg_fds: 16, max_data_xfer_size: 64 * 1024 * 1024, max_dma_maps: 65_535 } as const;
/** How many regions and interrupts QEMU takes, at least and at most (hw/vfio-user/device.c, hw/vfio/pci.c). */
const REGIONS = { least: 8, most: 100 } as const;
const IRQS = { least: 3, most: 50 } as const;
const EXPRESS_CONFIG_SIZE = 4096n;

const REFUSED = 'QEMU (measured with 11.1.3) gives up when it attaches to the device: the VM does not start.';
const NEXT_SERVER = 'correct the server; ferry check names every rule that it breaks';

/** What QEMU's vfio-user-pci refuses when it attaches. */
export const qemuLimitRules: readonly Rule<SocketFacts>[] = [
  deviceRule({
    id: 'qemu-version-reply',
    certainty: 'likely',
    effect: 'endangers',
    finding: ({ greeting, description }) =>
      // Ours names only what was proposed, and so is shorter for QEMU than for this client.
      greeting.bytes > QEMU_VERSION_BYTES && description.server === null
        ? `the reply to VERSION has ${greeting.bytes} bytes; QEMU takes ${QEMU_VERSION_BYTES}`
        : null,
    why: REFUSED,
    next: () => ['name in the reply only what the client has proposed', NEXT_SERVER],
  }),
  deviceRule({
    id: 'qemu-version-limits',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ greeting }) =>
      joined(
        Object.entries(LARGEST).flatMap(([name, most]) => {
          const named = numberAt(greeting.capabilities, name);
          return named !== null && named > most ? [`${name} is ${named}; QEMU takes at most ${most}`] : [];
        }),
      ),
    why: REFUSED,
    next: () => ['name smaller limits in the reply to VERSION'],
  }),
  deviceRule({
    id: 'qemu-device-info',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ description: { info } }) => (info === null ? null : joined(wrongInfo(info))),
    why: REFUSED,
    next: () => [
      'a PCI device has the flag PCI, 9 regions and 5 interrupt indices (linux/vfio.h)',
      NEXT_SERVER,
    ],
  }),
  deviceRule({
    id: 'qemu-config-space',
    certainty: 'certain',
    effect: 'endangers',
    finding: (device) => wrongConfig(device),
    why: REFUSED,
    next: () => ['let region 7 be the whole configuration space, 256 or 4096 bytes, readable in full'],
  }),
  deviceRule({
    id: 'qemu-intx',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ description: { config, interrupts } }) => {
      if (config === null || config.interruptPin === 0) return null;
      const intx = interrupts.find(({ index }) => index === IrqIndex.INTX);
      return intx !== undefined && intx.count > 0
        ? null
        : `the configuration space has interrupt pin ${config.interruptPin}, but there is no INTx`;
    },
    why: 'QEMU gives an eventfd for INTx to a device with a pin; when that is refused, the VM does not start.',
    next: () => ['offer INTx, or make the interrupt pin 0'],
  }),
  deviceRule({
    id: 'no-reset',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ description: { info } }) =>
      info?.resettable === false ? 'the device does not offer DEVICE_RESET' : null,
    why: 'QEMU then never resets it: a guest that reboots finds what the last one left, and a failed migration stays.',
    next: () => ['offer DEVICE_RESET, and the flag RESET in DEVICE_GET_INFO'],
  }),
  deviceRule({
    id: 'conventional-config',
    certainty: 'suspected',
    effect: 'endangers',
    finding: ({ description: { config, regions } }) => {
      const size = regions.find(({ index }) => index === RegionIndex.CONFIG)?.size;
      const extended = config?.capabilities.some(({ name }) => name.startsWith('PCI Express')) === true;
      return extended && size !== undefined && size < EXPRESS_CONFIG_SIZE
        ? `a PCI Express device with a configuration space of ${size} bytes`
        : null;
    },
    why: 'QEMU makes a conventional device of it, so that guests see no PCI Express capability.',
    next: () => ['give region 7 4096 bytes'],
  }),
];

function wrongInfo({ pci, regionCount, irqCount }: DeviceInfo): string[] {
  const wrong: string[] = [];
  if (!pci) wrong.push('DEVICE_GET_INFO has no flag PCI');
  if (regionCount < REGIONS.least || regionCount > REGIONS.most)
    wrong.push(`there are ${regionCount} regions; QEMU takes ${REGIONS.least} to ${REGIONS.most}`);
  if (irqCount < IRQS.least || irqCount > IRQS.most)
    wrong.push(`there are ${irqCount} interrupt indices; QEMU takes ${IRQS.least} to ${IRQS.most}`);
  return wrong;
}

function wrongConfig({ description: { info, regions, config, refused } }: DeviceFacts): string | null {
  // What is refused in the present state is no defect of the device.
  if (info === null || refused.length > 0) return null;
  const region = regions.find(({ index }) => index === RegionIndex.CONFIG);
  if (region === undefined || region.size === 0n) return 'there is no configuration space (region 7)';
  if (!region.readable) return 'the configuration space (region 7) is not readable';
  return config === null ? `the configuration space has ${region.size} bytes, too few for a header` : null;
}
