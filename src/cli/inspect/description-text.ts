import type { DeviceDescription, IrqInfo, RegionInfo } from '../../client/index.ts';
import { stateName, v1Bits, v1Name } from '../../states/index.ts';
import { describeKernel } from '../access/device-access.ts';
import { describeServer, field, numberOf, textOf } from '../access/server-report.ts';
import { formatBytes, shortBytes } from '../options/quantities.ts';
import { irqName, migrationFlagNames, regionName } from '../output/names.ts';
import { describeConfig } from './pci-text.ts';

/** A device in lines for people: as `lspci -vvv`, then what VFIO adds. */
export function describeDevice(description: DeviceDescription): string[] {
  const { config, regions, interrupts, server, refused } = description;
  return [
    ...title(description),
    ...(config === null ? [] : describeConfig(config, regions)),
    ...section(
      'Regions',
      regions.filter(({ size }) => size > 0n).map((each) => describeRegion(each, server)),
    ),
    ...section('Interrupts', interrupts.filter(({ count }) => count > 0).map(describeIrq)),
    ...section('Migration', describeMigration(description)),
    ...section('Kernel', describeKernel(server)),
    ...section('Server', describeServer(server)),
    ...section(
      'Not told',
      refused.map(({ message }) => message),
    ),
  ];
}

function title({ config, server }: DeviceDescription): string[] {
  const kind = textOf(field(server, 'identity'), 'kind');
  const name = kind === undefined ? '' : `${kind} `;
  if (config === null) return [`${name}(its configuration space can't be read now)`];
  const { classCode, vendor, device, revision } = config;
  const rev = revision === 0 ? '' : ` (rev ${hex(revision, 2)})`;
  return [`${name}[${hex(classCode >> 8, 4)}]: Device ${hex(vendor, 4)}:${hex(device, 4)}${rev}`];
}

function describeRegion(region: RegionInfo, server: unknown): string {
  const { index, size, readable, writable } = region;
  const access = `${readable ? 'r' : '-'}${writable ? 'w' : '-'}`;
  const ranges = mappableRanges(region, server);
  const mapped = ranges.length > 0 ? `, can be mapped: ${ranges.join(', ')}` : '';
  return `${index} ${regionName(index)}: ${shortBytes(Number(size))} ${access}${mapped}`;
}

/** A control socket gives no fds away, and so does not call anything mappable; but the server tells. */
function mappableRanges({ index, areas }: RegionInfo, server: unknown): string[] {
  if (areas.length > 0) return areas.map(({ offset, size }) => hexRange(offset, size));
  const told = listOf(field(server, 'regions')).find((each) => field(each, 'index') === index);
  return listOf(field(told, 'mappable')).map((area) =>
    hexRange(wholeOf(area, 'offset'), wholeOf(area, 'size')),
  );
}

function wholeOf(value: unknown, name: string): bigint {
  return BigInt(Math.trunc(numberOf(value, name)));
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function describeIrq({ index, count, eventfd, maskable, autoMasked, noResize }: IrqInfo): string {
  const flags = Object.entries({ eventfd, maskable, 'auto-masked': autoMasked, 'no resize': noResize })
    .filter(([, set]) => set)
    .map(([name]) => name);
  return `${index} ${irqName(index)}: ${count}${flags.length > 0 ? ` (${flags.join(', ')})` : ''}`;
}

function describeMigration({ migration: { flags, state, dataSize, v1 } }: DeviceDescription): string[] {
  if (v1 !== undefined) {
    const { deviceState, region } = v1;
    return [
      `state ${v1Name(deviceState)}`,
      `by v1, through region ${region}: device_state ${v1Bits(deviceState)}`,
    ];
  }
  if (flags === null) return ['not supported'];
  const size = dataSize === null ? '' : `, about ${formatBytes(Number(dataSize))} of state`;
  return [
    `state ${state === null ? 'unknown' : stateName(state)}`,
    `${migrationFlagNames(flags).join(' ')}${size}`,
  ];
}

function section(heading: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`\t${heading}:`, ...lines.map((line) => `\t\t${line}`)];
}

function hexRange(offset: bigint, size: bigint): string {
  return `0x${offset.toString(16)}-0x${(offset + size - 1n).toString(16)}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
