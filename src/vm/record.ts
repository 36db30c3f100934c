import type { Json } from '../protocol/index.ts';
import { parseJson } from '../protocol/index.ts';
import { countIn, listIn, member, textIn } from './json.ts';
import type { PciAddress } from './machine/attached.ts';
import { CONFIG_BYTES } from './performer.ts';
import { VmError } from './vm-error.ts';

/** What the source's VMM keeps of a device and does not migrate. */
export interface DeviceRecord extends PciAddress {
  /** The configuration space as the guest sees it: header and conventional capabilities. */
  readonly config: Uint8Array;
  /** The MSI-X table; null when the device has none, or none that can be reached. */
  readonly msixTable: Uint8Array | null;
}

/** What the destination is told of the VM besides what its VMM is sent. */
export interface VmRecord {
  /** Where configuration space lies in memory. */
  readonly ecam: bigint;
  /** Vendor and device of the host bridge, by which that is verified. */
  readonly hostBridge: number;
  readonly devices: readonly DeviceRecord[];
}

/** No record is longer, in bytes: 1024 devices with big tables would be. */
export const MAX_RECORD = 8 * 1024 * 1024;
const MAX_DEVICES = 1024;
/** 2048 vectors of 16 bytes. */
const MAX_TABLE = 32 * 1024;
const VERSION = 1;

/** The record as it travels: JSON. */
export function encodeRecord({ ecam, hostBridge, devices }: VmRecord): Uint8Array {
  const json: Json = {
    version: VERSION,
    ecam: ecam.toString(16),
    hostBridge,
    devices: devices.map(({ bus, slot, function: fn, config, msixTable }) => ({
      ...{ bus, slot, function: fn },
      config: hex(config),
      msixTable: msixTable === null ? null : hex(msixTable),
    })),
  };
  return new TextEncoder().encode(JSON.stringify(json));
}

/** Reads what {@link encodeRecord} has made. @throws VmError ERR_VM_RECORD */
export function decodeRecord(bytes: Uint8Array): VmRecord {
  const json = parseJson(bytes, 4, (reason) => refuse(reason));
  if (member(json, 'version') !== VERSION) return refuse('it is of another version');
  const ecam = textIn(json, 'ecam') ?? '';
  const hostBridge = countIn(json, 'hostBridge');
  const devices = listIn(json, 'devices');
  if (!/^[0-9a-f]{1,12}$/.test(ecam) || hostBridge === null || hostBridge > 0xffff_ffff)
    return refuse('it does not say where configuration space is');
  if (devices.length > MAX_DEVICES) return refuse(`it has ${devices.length} devices`);
  return { ecam: BigInt(`0x${ecam}`), hostBridge, devices: devices.map(decodeDevice) };
}

function decodeDevice(json: unknown): DeviceRecord {
  const [bus, slot, fn] = [countIn(json, 'bus'), countIn(json, 'slot'), countIn(json, 'function')];
  if (bus === null || slot === null || fn === null || bus > 255 || slot > 31 || fn > 7)
    return refuse('a device has no place');
  const config = bytesOf(member(json, 'config'), CONFIG_BYTES, CONFIG_BYTES);
  const table = member(json, 'msixTable');
  if (config === null) return refuse('a device has no configuration space');
  if (table === null) return { bus, slot, function: fn, config, msixTable: null };
  const msixTable = bytesOf(table, 16, MAX_TABLE);
  if (msixTable === null || msixTable.length % 16 !== 0) return refuse('a device has no whole MSI-X table');
  return { bus, slot, function: fn, config, msixTable };
}

function bytesOf(value: unknown, least: number, most: number): Uint8Array | null {
  if (typeof value !== 'string' || value.length < 2 * least || value.length > 2 * most) return null;
  return value.length % 2 === 0 && /^[0-9a-f]*$/.test(value) ? Buffer.from(value, 'hex') : null;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function refuse(why: string): never {
  throw new VmError('ERR_VM_RECORD', `what the source has sent of the VM is no record of one: ${why}`);
}
