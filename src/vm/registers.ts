import { type PciCapability, type PciConfig, parsePciConfig } from '../client/index.ts';
import { VmError } from './vm-error.ts';

/** Where COMMAND is. */
export const COMMAND = 0x04;
/** COMMAND: the device answers at its memory BARs, at its I/O BARs (PCI Local Bus 3.0, 6.2.2). */
const SPACE = { memory: 0x0002, io: 0x0001 } as const;
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
  const answers = bar !== undefined && bar.address !== 0n && (config.command & SPACE.memory) !== 0;
  return {
    address: answers ? bar.address + BigInt(Number(tableOffset)) : null,
    length: Number(vectors) * ENTRY_BYTES,
    enabled: enabled === true,
  };
}

/** A byte of a device that the guest could read. */
export interface DeviceByte {
  readonly region: number;
  readonly space: 'memory' | 'io';
  /** In that space. */
  readonly address: bigint;
}

/**
 * The first byte of a BAR that the guest has turned on and whose reads reach the server: in memory if possible, and not of
 * MSI-X, which the VMM answers by itself. Null when there is none.
 */
export function plainByteOf(bytes: Uint8Array): DeviceByte | null {
  const config = decodeConfig(bytes);
  const details = msixOf(config)?.details;
  const isMsix = (bar: number): boolean =>
    (details?.['tableBar'] === bar && details['tableOffset'] === 0) ||
    (details?.['pendingBar'] === bar && details['pendingOffset'] === 0);
  const usable = config.bars.filter(
    ({ kind, address, index }) => address !== 0n && (config.command & SPACE[kind]) !== 0 && !isMsix(index),
  );
  const bar = usable.find(({ kind }) => kind === 'memory') ?? usable[0];
  return bar === undefined ? null : { region: bar.index, space: bar.kind, address: bar.address };
}

/** A bit of a register. */
export interface RegisterBit {
  /** Bytes from the beginning of configuration space; the register has two. */
  readonly offset: number;
  readonly bit: number;
}

/** INTERRUPT_PIN (PCI Local Bus 3.0, 6.2.4). */
const PIN = 0x3d;
const MSI = 0x05;

/**
 * The device interrupts by INTx, if at all: it has a pin, and nothing else is on. COMMAND does not tell: drivers turn INTx off
 * there for the moment.
 */
export function usesIntx(bytes: Uint8Array): boolean {
  const { capabilities } = decodeConfig(bytes);
  const other = capabilities.some(
    ({ id, details }) => (id === MSIX || id === MSI) && details['enabled'] === true,
  );
  return (bytes[PIN] ?? 0) !== 0 && !other;
}

/** What enables MSI-X, or MSI, in their control words (PCI Local Bus 3.0, 6.8.1.3, 6.8.2.3); null for neither. */
export function messageEnableOf(bytes: Uint8Array): RegisterBit | null {
  const { capabilities } = decodeConfig(bytes);
  const find = (id: number, bit: number): RegisterBit | null => {
    const found = capabilities.find((each) => each.id === id && !each.extended);
    return found === undefined ? null : { offset: found.offset + 2, bit };
  };
  return find(MSIX, 0x8000) ?? find(MSI, 0x0001);
}

function msixOf({ capabilities }: PciConfig): PciCapability | null {
  return capabilities.find(({ id, extended }) => id === MSIX && !extended) ?? null;
}
