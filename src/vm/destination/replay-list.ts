import { type ConfigWrite, setupWrites } from '../../engine/index.ts';
import type { DeviceRecord } from '../record.ts';
import { COMMAND, msixTableOf } from '../registers.ts';
import { VmError } from '../vm-error.ts';

/** One write of a replay: into configuration space, or into the MSI-X table. */
export interface ReplayWrite {
  readonly name: string;
  readonly to: 'configuration' | 'table';
  /** Bytes from the beginning of configuration space, or of the table. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** What a VMM does when it is told to arm interrupts: only once everything else is as it was. */
const LAST = ['MSI control', 'MSI-X control', 'power management control'];
/** Bytes of an entry. */
const ENTRY = 16;
/** Entries that are written at once: 4 KiB. */
const MAX_RUN = 256;

/**
 * The writes that make of a device that the VMM has just reset what it was at the source, in their order: addresses,
 * lines and capabilities; COMMAND, since the table is reached through a BAR; the MSI-X table; then
 * what arms MSI and MSI-X. What is as it was already is left alone. `own` is the configuration space as it is there. @throws FerryError ERR_CONFIGURATION_DIFFERS
 */
export function replayList(own: Uint8Array, { config, msixTable }: DeviceRecord): readonly ReplayWrite[] {
  const writes = setupWrites(own, config, 0).map(inConfiguration);
  const isLast = ({ name }: ReplayWrite): boolean => LAST.includes(name);
  const [first, command] = [writes.slice(0, -1), writes.at(-1)];
  if (command === undefined || command.offset !== COMMAND) throw new TypeError('COMMAND comes last');
  const asItIs = ({ offset, bytes }: ReplayWrite): boolean =>
    bytes.every((byte, i) => byte === own[offset + i]);
  const needed = first.filter((write) => !asItIs(write));
  return [
    ...needed.filter((write) => !isLast(write)),
    command,
    ...(msixTable === null ? [] : tableRuns(requireReachable(config, msixTable))),
    ...needed.filter(isLast),
  ];
}

function inConfiguration({ name, offset, bytes }: ConfigWrite): ReplayWrite {
  return { name, to: 'configuration', offset, bytes };
}

/**
 * Entries that are as after a reset are not written. The words of an entry go in their order, address, data, vector
 * control: a vector is set up before it is unmasked (PCI Local Bus 3.0, 6.8.2.9).
 */
function tableRuns(table: Uint8Array): readonly ReplayWrite[] {
  const writes: ReplayWrite[] = [];
  let from = 0;
  const flush = (to: number): void => {
    if (to > from)
      writes.push({
        name: `MSI-X entry ${from / ENTRY}`,
        to: 'table',
        offset: from,
        bytes: table.slice(from, to),
      });
    from = to;
  };
  for (let at = 0; at < table.length; at += ENTRY) {
    if (isAsReset(table, at)) {
      flush(at);
      from = at + ENTRY;
    } else if (at - from >= MAX_RUN * ENTRY) flush(at);
  }
  flush(table.length);
  return writes;
}

/** QEMU masks each entry at reset (hw/pci/msix.c, msix_mask_all). */
function isAsReset(table: Uint8Array, at: number): boolean {
  const view = new DataView(table.buffer, table.byteOffset + at, ENTRY);
  return [0, 4, 8].every((word) => view.getUint32(word, true) === 0) && view.getUint32(12, true) === 1;
}

function requireReachable(config: Uint8Array, table: Uint8Array): Uint8Array {
  const found = msixTableOf(config);
  if (found !== null && found.address !== null && found.length === table.length) return table;
  throw new VmError('ERR_VM_RECORD', 'the source has sent an MSI-X table of a device that has none there');
}
