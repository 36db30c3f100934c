import { type PciCapability, type PciConfig, parsePciConfig } from '../client/index.ts';
import { VmError } from './vm-error.ts';

/** Where COMMAND is. */
export const COMMAND = 0x04;
/** COMMAND: the device answers at its memory BARs (PCI Local Bus 3.0, 6.2.2). */
const MEMORY_SPACE = 0x0002;
const MSIX = 0x11;
/** Bytes of an entry of an MSI-X table (PCI Local Bus 3.0, 6.8.2). */
const ENTRY_BYTES = 16;

/** Where the MSI-X table of a device lies. */
export interface MsixTable {
  /** The guest's address; null when the device does not answer at its BAR. */
  readonly address: bigint | null;
  readonly length: number;
  readonly enabled: boolean;
}

/** Configuration space, decoded. @throws VmError when it is none */
export function decodeConfig(bytes: Uint8Array): PciConfig {
  const config = parsePciConfig(bytes);
  if (config === null) throw new VmError('ERR_VM_RECORD', `${bytes.length} bytes are no configuration space`);
  return config;
}

/** The MSI-X table, or null for a device without one. */
export function msixTableOf(bytes: Uint8Array): MsixTable | null {
  const config = decodeConfig(bytes);
  const capability = msixOf(config);
  if (capability === null) return null;
  const { tableBar, tableOffset, vectors, enabled } = capability.details;
  const bar = config.bars.find(({ index, kind }) => index === tableBar && kind === 'memory');
  const answers = bar !== undefined && bar.address !== 0n && (config.command & MEMORY_SPACE) !== 0;
  return {
    address: answers ? bar.address + BigInt(Number(tableOffset)) : null,
    length: Number(vectors) * ENTRY_BYTES,
    enabled: enabled === true,
  };
}

/** A byte of a memory BAR that is not part of MSI-X, which the VMM answers by itself; null when there is none. */
export function plainByteOf(bytes: Uint8Array): { readonly region: number; readonly address: bigint } | null {
  const config = decodeConfig(bytes);
  if ((config.command & MEMORY_SPACE) === 0) return null;
  const details = msixOf(config)?.details;
  const isMsix = (bar: number): boolean =>
    (details?.['tableBar'] === bar && details['tableOffset'] === 0) ||
    (details?.['pendingBar'] === bar && details['pendingOffset'] === 0);
  const bar = config.bars.find(
    ({ kind, address, index }) => kind === 'memory' && address !== 0n && !isMsix(index),
  );
  return bar === undefined ? null : { region: bar.index, address: bar.address };
}

function msixOf({ capabilities }: PciConfig): PciCapability | null {
  return capabilities.find(({ id, extended }) => id === MSIX && !extended) ?? null;
}
