import {
  Command,
  DeviceInfo,
  deviceGetRegionInfo,
  Feature,
  FeatureFlag,
  IrqInfo,
  parseJson,
  type RegionCapability,
  RegionIndex,
  RegionInfo,
  V1_REGION_TYPE,
} from '../../protocol/index.ts';
import { fields, u64At, versionPayload, viewOf } from '../wire/bytes.ts';
import type { Wire } from '../wire/wire.ts';
import { failed, feature, tryRead, worked } from './ask.ts';

/** One region, as the server describes it. */
export interface RegionFacts {
  readonly index: number;
  readonly flags: number;
  readonly size: bigint;
  /** Where the memory begins in its file. */
  readonly offset: bigint;
  /** What argsz the whole reply needs. */
  readonly argsz: number;
  /** The parts that can be mapped; the whole region where there is MMAP without a sparse capability. */
  readonly areas: readonly { readonly offset: bigint; readonly size: bigint }[];
  /** It is the migration region of v1, in which what may be read depends on what was done before. */
  readonly migrates: boolean;
}

/** What a server says of itself, gathered once and never believed further than a rule's set-up. */
export interface Facts {
  readonly deviceFlags: number;
  readonly numRegions: number;
  readonly numIrqs: number;
  readonly regions: readonly RegionFacts[];
  readonly irqs: readonly { readonly index: number; readonly flags: number; readonly count: number }[];
  readonly identity: { readonly vendor: number; readonly device: number } | null;
  /** The flags of MIGRATION; null when the device has no migration. */
  readonly migrationFlags: number | null;
  readonly logging: boolean;
  /** The largest `count` that the server takes, bytes. */
  readonly maxDataXferSize: number;
  readonly maxMsgFds: number;
  readonly writeMultiple: boolean;
}

/** What is proposed: everything that the suite understands, in the words of QEMU 11.1.3, byte for byte. */
export const PROPOSAL =
  '{"capabilities": {"pgsizes": 4096, "max_msg_fds": 16, "max_dma_maps": 65535, "max_data_xfer_size": 1048576, "migration": {"max_bitmap_size": 268435456, "pgsize": 4096}, "write_multiple": true}}';

const DEFAULT_XFER = 1_048_576;
/** No device has more; a server that says so is not asked about each. */
const MOST_ASKED = 64;

/** The limits that a VERSION reply names. */
export function limitsOf(
  payload: Uint8Array,
): Pick<Facts, 'maxDataXferSize' | 'maxMsgFds' | 'writeMultiple'> {
  const capabilities = capabilitiesOf(payload);
  const number = (name: string, otherwise: number): number => {
    const value = capabilities.get(name);
    return typeof value === 'number' ? value : otherwise;
  };
  return {
    maxDataXferSize: number('max_data_xfer_size', DEFAULT_XFER),
    maxMsgFds: number('max_msg_fds', 1),
    writeMultiple: capabilities.get('write_multiple') === true,
  };
}

/** The members of `capabilities` in a VERSION payload; none when it can't be read. */
export function capabilitiesOf(payload: Uint8Array): ReadonlyMap<string, unknown> {
  const end = payload.indexOf(0, 4);
  const nothing = new Map<string, unknown>();
  if (end < 0) return nothing;
  try {
    const root = parseJson(payload.subarray(4, end), 16, (reason) => {
      throw new SyntaxError(reason);
    });
    const all: unknown =
      typeof root === 'object' && root !== null ? new Map(Object.entries(root)).get('capabilities') : null;
    return typeof all === 'object' && all !== null ? new Map(Object.entries(all)) : nothing;
  } catch (error) {
    if (error instanceof SyntaxError) return nothing;
    throw error;
  }
}

/** Asks a server on a fresh connection what it is. What it does not answer is left out, but VERSION it has to. */
export async function gatherFacts(wire: Wire): Promise<Facts> {
  const greeting = worked(await wire.request(Command.VERSION, versionPayload(PROPOSAL)));
  const info = await wire.request(Command.DEVICE_GET_INFO, fields(DeviceInfo.size, 0, 0, 0));
  const whole =
    failed(info) || info.payload.length < DeviceInfo.size ? null : DeviceInfo.read(viewOf(info.payload), 0);
  const numRegions = Math.min(whole?.numRegions ?? 0, MOST_ASKED);
  const numIrqs = Math.min(whole?.numIrqs ?? 0, MOST_ASKED);
  const regions: RegionFacts[] = [];
  for (let index = 0; index < numRegions; index += 1) {
    const region = await regionFacts(wire, index);
    if (region !== null) regions.push(region);
  }
  return {
    ...limitsOf(greeting),
    ...{ deviceFlags: whole?.flags ?? 0, numRegions: whole?.numRegions ?? 0, numIrqs: whole?.numIrqs ?? 0 },
    regions,
    irqs: await irqFacts(wire, numIrqs),
    identity: await identityOf(wire),
    ...(await migrationFacts(wire)),
  };
}

async function regionFacts(wire: Wire, index: number): Promise<RegionFacts | null> {
  const ask = (argsz: number): ReturnType<Wire['request']> =>
    wire.request(Command.DEVICE_GET_REGION_INFO, fields(argsz, 0, index, 0, 0n, 0n));
  const first = await ask(RegionInfo.size);
  if (failed(first) || first.payload.length < RegionInfo.size) return null;
  const { argsz } = RegionInfo.read(viewOf(first.payload), 0);
  const reply = argsz > RegionInfo.size && argsz <= 65_536 ? await ask(argsz) : first;
  if (failed(reply) || reply.payload.length < RegionInfo.size) return null;
  const info = RegionInfo.read(viewOf(reply.payload), 0);
  return {
    index,
    flags: info.flags,
    size: info.size,
    offset: info.offset,
    argsz,
    ...capabilityFacts(info, reply.payload),
  };
}

const MMAP = 4;

/** What follows from the capabilities; nothing does when they can't be read, which a rule of its own judges. */
function capabilityFacts(
  { flags, size }: RegionInfo,
  payload: Uint8Array,
): Pick<RegionFacts, 'areas' | 'migrates'> {
  const capabilities = regionCapabilities(payload);
  if (capabilities === null) return { areas: [], migrates: false };
  const sparse = capabilities.find((one) => one.kind === 'sparse-mmap');
  const mappable = sparse?.kind === 'sparse-mmap' ? sparse.areas : [{ offset: 0n, size }];
  return {
    areas: (flags & MMAP) === 0 ? [] : mappable,
    migrates: capabilities.some((one) => one.kind === 'type' && one.type === V1_REGION_TYPE),
  };
}

function regionCapabilities(payload: Uint8Array): readonly RegionCapability[] | null {
  try {
    return deviceGetRegionInfo.reply.decode(payload).capabilities;
  } catch {
    return null;
  }
}

async function irqFacts(wire: Wire, count: number): Promise<Facts['irqs']> {
  const irqs: Facts['irqs'][number][] = [];
  for (let index = 0; index < count; index += 1) {
    const reply = await wire.request(Command.DEVICE_GET_IRQ_INFO, fields(IrqInfo.size, 0, index, 0));
    if (failed(reply) || reply.payload.length < IrqInfo.size) continue;
    const { flags, count: vectors } = IrqInfo.read(viewOf(reply.payload), 0);
    irqs.push({ index, flags, count: vectors });
  }
  return irqs;
}

async function identityOf(wire: Wire): Promise<Facts['identity']> {
  const reply = await tryRead(wire, RegionIndex.CONFIG, 0n, 4);
  if (failed(reply) || reply.payload.length < 20) return null;
  // Configuration space is little-endian whatever the host is.
  const view = viewOf(reply.payload);
  return { vendor: view.getUint16(16, true), device: view.getUint16(18, true) };
}

async function migrationFacts(wire: Wire): Promise<Pick<Facts, 'migrationFlags' | 'logging'>> {
  const flags = await feature(wire, FeatureFlag.GET | Feature.MIGRATION);
  const logging = await feature(wire, FeatureFlag.PROBE | FeatureFlag.SET | Feature.DMA_LOGGING_START);
  return {
    migrationFlags: failed(flags) ? null : Number(u64At(flags.payload, 8) & 0xffff_ffffn),
    logging: !failed(logging),
  };
}
