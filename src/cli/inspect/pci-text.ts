import type { PciBar, PciCapability, PciConfig, RegionInfo } from '../../client/index.ts';
import { shortBytes } from '../options/quantities.ts';

/** Bits of the Command register as lspci names them (PCI Local Bus 3.0, 6.2.2). */
const COMMAND_BITS = [
  ['I/O', 0],
  ['Mem', 1],
  ['BusMaster', 2],
  ['SpecCycle', 3],
  ['MemWINV', 4],
  ['VGASnoop', 5],
  ['ParErr', 6],
  ['Stepping', 7],
  ['SERR', 8],
  ['FastB2B', 9],
  ['DisINTx', 10],
] as const;

/** Bits of the Status register as lspci names them (PCI Local Bus 3.0, 6.2.3). */
const STATUS_BITS = [
  ['Cap', 4],
  ['66MHz', 5],
  ['UDF', 6],
  ['FastB2B', 7],
  ['ParErr', 8],
  ['>TAbort', 11],
  ['<TAbort', 12],
  ['<MAbort', 13],
  ['>SERR', 14],
  ['<PERR', 15],
  ['INTx', 3],
] as const;

const BAR_COUNT = 6;
const PINS = 'ABCD';

/** A decoded configuration space in the lines that `lspci -vvv` prints below its title. */
export function describeConfig(config: PciConfig, regions: readonly RegionInfo[]): string[] {
  const { subsystemVendor, subsystemDevice } = config;
  const subsystem = `\tSubsystem: Device ${hex(subsystemVendor, 4)}:${hex(subsystemDevice, 4)}`;
  return [
    ...(subsystemVendor === 0 && subsystemDevice === 0 ? [] : [subsystem]),
    `\tControl: ${bits(config.command, COMMAND_BITS)}`,
    `\tStatus: ${bits(config.status, STATUS_BITS)}`,
    ...describePin(config),
    ...regions.filter(isBar).map((region) => describeBar(region, config.bars)),
    ...config.capabilities.map(describeCapability),
  ];
}

function isBar({ index, size }: RegionInfo): boolean {
  return index < BAR_COUNT && size > 0n;
}

function describePin({ interruptPin, interruptLine }: PciConfig): string[] {
  const pin = PINS[interruptPin - 1];
  return pin === undefined ? [] : [`\tInterrupt: pin ${pin} routed to IRQ ${interruptLine}`];
}

/** A BAR without an address is all zero when it is a 32-bit one of memory, which is therefore what it is. */
function describeBar({ index, size }: RegionInfo, bars: readonly PciBar[]): string {
  const bar = bars.find((each) => each.index === index);
  const address =
    bar === undefined || bar.address === 0n ? '<unassigned>' : bar.address.toString(16).padStart(8, '0');
  const extent = `[size=${shortBytes(Number(size))}]`;
  if (bar?.kind === 'io') return `\tRegion ${index}: I/O ports at ${address} ${extent}`;
  const width = bar?.wide === true ? '64-bit' : '32-bit';
  const prefetch = bar?.prefetchable === true ? 'prefetchable' : 'non-prefetchable';
  return `\tRegion ${index}: Memory at ${address} (${width}, ${prefetch}) ${extent}`;
}

function describeCapability({ offset, name, details }: PciCapability): string {
  const said = Object.entries(details).map(([key, value]) => describeDetail(key, value));
  return `\tCapabilities: [${hex(offset, 2)}] ${[name, ...said].join(' ')}`;
}

/** What is read as bits, as an address or as a name, not as a quantity; with the digits that it is written with. */
const HEX_DIGITS = [
  [/-(offset|status|mask)$/, 8],
  [/-id$/, 4],
] as const;

function describeDetail(key: string, value: number | bigint | boolean): string {
  const name = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  if (typeof value === 'boolean') return `${name}${value ? '+' : '-'}`;
  if (typeof value === 'bigint') return `${name}=${octets(value)}`;
  const digits = HEX_DIGITS.find(([ending]) => ending.test(name))?.[1];
  return `${name}=${digits === undefined ? value : hex(value, digits)}`;
}

/** 64 bits as lspci prints a serial number, the highest byte first. */
function octets(value: bigint): string {
  return value
    .toString(16)
    .padStart(16, '0')
    .replace(/..(?=.)/g, '$&-');
}

function bits(value: number, names: readonly (readonly [name: string, bit: number])[]): string {
  return names.map(([name, bit]) => `${name}${(value >> bit) & 1 ? '+' : '-'}`).join(' ');
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
