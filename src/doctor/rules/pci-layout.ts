import type { PciCapability, PciConfig } from '../../client/index.ts';
import { IrqIndex } from '../../protocol/index.ts';
import type { Rule } from '../finding.ts';
import type { DeviceFacts, SocketFacts } from '../socket-facts.ts';
import { deviceRule, joined } from './device-rule.ts';

const BAR_COUNT = 6;
/** Bytes of one entry of the MSI-X table (PCI Local Bus 3.0, 6.8.2). */
const VECTOR_SIZE = 16;
const CAPABILITIES_AT = 0x34;
const STATUS_CAPABILITIES = 0x10;
const FIRST_CAPABILITY = 0x40;
const CONVENTIONAL_SIZE = 256;

/** Mistakes of a PCI device that show when a VMM uses it. */
export const pciLayoutRules: readonly Rule<SocketFacts>[] = [
  deviceRule({
    id: 'capability-chain',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ description: { config } }) =>
      config === null ? null : brokenChain(config.bytes, config.status),
    why: 'QEMU follows the chain when it attaches, and guests do when they boot: a loop never ends.',
    next: () => [
      'correct the list of capabilities: each at a multiple of 4 from 0x40 on, the last one with next = 0',
    ],
  }),
  deviceRule({
    id: 'bar-size',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ description: { regions } }) =>
      joined(
        regions
          .filter(({ index, size }) => index < BAR_COUNT && size > 0n && (size & (size - 1n)) !== 0n)
          .map(({ index, size }) => `BAR${index} has ${size} bytes, which is no power of two`),
      ),
    why: 'The size of a BAR is read by writing ones to it, which can only tell powers of two; QEMU does not take others.',
    next: () => ['round the region up to a power of two'],
  }),
  deviceRule({
    id: 'msix-layout',
    certainty: 'certain',
    effect: 'endangers',
    finding: (device) => joined(msixMistakes(device)),
    why: 'QEMU refuses an MSI-X table or pending bits that do not lie in their BAR: the VM does not start.',
    next: () => ['correct the MSI-X capability, or make the BAR larger'],
  }),
  deviceRule({
    id: 'msix-count',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ description: { config, interrupts } }) => {
      const vectors = config === null ? null : vectorsOf(config);
      const count = interrupts.find(({ index }) => index === IrqIndex.MSIX)?.count ?? 0;
      return vectors === null || vectors <= count
        ? null
        : `the MSI-X capability has ${vectors} vectors, DEVICE_GET_IRQ_INFO ${count}`;
    },
    why: 'The guest counts by the capability; SET_IRQS is refused for vectors beyond, and their interrupts are lost.',
    next: () => ['name the same number in both'],
  }),
  deviceRule({
    id: 'header-type',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ description: { config } }) => {
      const type = config === null ? 0 : config.headerType & 0x7f;
      return type === 0 ? null : `the header type of the configuration space is ${type}`;
    },
    why: 'VFIO passes on endpoints, which have header type 0.',
    next: () => ['make the header type 0'],
  }),
];

/** What is wrong with the chain of conventional capabilities; null when it ends as it should. */
function brokenChain(bytes: Uint8Array, status: number): string | null {
  if ((status & STATUS_CAPABILITIES) === 0) return null;
  const seen = new Set<number>();
  for (let at = bytes[CAPABILITIES_AT] ?? 0; at !== 0; at = bytes[at + 1] ?? 0) {
    const where = `0x${at.toString(16)}`;
    if (at < FIRST_CAPABILITY || at % 4 !== 0 || at >= Math.min(bytes.length, CONVENTIONAL_SIZE))
      return `the chain of capabilities leads to ${where}`;
    if (seen.has(at)) return `the chain of capabilities comes back to ${where}`;
    seen.add(at);
  }
  return null;
}

function msixOf({ capabilities }: PciConfig): PciCapability | undefined {
  return capabilities.find(({ name }) => name === 'MSI-X');
}

function vectorsOf(config: PciConfig): number | null {
  const vectors = msixOf(config)?.details['vectors'];
  return typeof vectors === 'number' ? vectors : null;
}

function msixMistakes({ description: { config, regions } }: DeviceFacts): string[] {
  const details = config === null ? undefined : msixOf(config)?.details;
  if (details === undefined) return [];
  const { vectors, tableBar, tableOffset, pendingBar, pendingOffset } = details;
  const parts = [
    { what: 'table', bar: tableBar, offset: tableOffset, size: Number(vectors) * VECTOR_SIZE },
    {
      what: 'pending bits',
      bar: pendingBar,
      offset: pendingOffset,
      size: Math.ceil(Number(vectors) / 64) * 8,
    },
  ];
  return parts.flatMap(({ what, bar, offset, size }) => {
    const region = regions.find(({ index }) => index === bar && index < BAR_COUNT);
    const room = region?.size ?? 0n;
    const end = BigInt(Number(offset) + size);
    return end <= room ? [] : [`the MSI-X ${what} end at byte ${end} of BAR${bar}, which has ${room}`];
  });
}
