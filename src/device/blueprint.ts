import { Errno, type ErrorContext } from '../errors/index.ts';
import type { Bar, BarIndex, Bars } from './bar.ts';
import {
  type Capability,
  chain,
  type MsixPlacement,
  msiCapability,
  msixCapability,
  PCI_EXPRESS,
  POWER_MANAGEMENT,
} from './capabilities.ts';
import type { ConfigLayout } from './configuration-space.ts';
import { DeviceError } from './device-error.ts';
import type { InterruptCounts } from './interrupt-controller.ts';
import type { InterruptDeclaration, MsiDeclaration, MsixDeclaration } from './interrupt-declaration.ts';
import { pbaSize, tableSize } from './msix-table.ts';
import { NOTHING } from './overlay-content.ts';
import type { PciIdentity } from './pci-identity.ts';
import { BAR_INDICES, type0Header } from './type0-header.ts';

/** What a device's author may say besides identity, BARs and interrupts. */
export interface DeviceOptions {
  /** A PCI Express endpoint: 4096 bytes of configuration space with the capability. False by default. */
  readonly express?: boolean;
  /** A power management capability. False by default. */
  readonly powerManagement?: boolean;
  /**
   * Refuse DMA with ENODEV while the guest has not set COMMAND.Bus Master, as a real function would stay off the bus.
   * False by default: a VMM refuses message DMA by itself, and memory that it has shared it does not guard either.
   */
  readonly requireBusMaster?: boolean;
}

/** What an author declares. */
export interface DeviceDeclaration {
  readonly identity: PciIdentity;
  readonly bars: Bars;
  readonly interrupts: InterruptDeclaration;
  readonly options: DeviceOptions;
}

/** A device's declarations, checked and complete. */
export interface Blueprint {
  readonly identity: Required<PciIdentity>;
  /** Including the one added for MSI-X. */
  readonly bars: Bars;
  readonly counts: InterruptCounts;
  readonly msix: MsixPlacement | null;
  readonly config: ConfigLayout;
}

const CONFIG_SIZE = 256;
const EXPRESS_CONFIG_SIZE = 4096;

/** Checks an author's declarations and completes them. Throws DeviceError (ERR_DEVICE_DECLARATION) with the reason. */
export function draw({ identity, bars, interrupts, options }: DeviceDeclaration): Blueprint {
  const complete = completeIdentity(identity);
  checkBars(bars);
  const msi = normalise<MsiDeclaration>(interrupts.msi);
  if (msi !== null) checkMsi(msi);
  const placed = placeMsix(bars, normalise<MsixDeclaration>(interrupts.msix));
  const intx = interrupts.intx === true;
  const capabilities: Capability[] = [];
  if (options.powerManagement) capabilities.push(POWER_MANAGEMENT);
  if (msi !== null) capabilities.push(msiCapability(msi));
  if (placed.msix !== null) capabilities.push(msixCapability(placed.msix));
  if (options.express) capabilities.push(PCI_EXPRESS);
  const { first, registers } = chain(capabilities);
  return {
    identity: complete,
    bars: placed.bars,
    counts: { intx: intx ? 1 : 0, msi: msi?.vectors ?? 0, msix: placed.msix?.vectors ?? 0 },
    msix: placed.msix,
    config: {
      size: options.express ? EXPRESS_CONFIG_SIZE : CONFIG_SIZE,
      registers: [...type0Header(complete, placed.bars, intx, first), ...registers],
    },
  };
}

/** The widths of an identity's numbers, in bits. */
const IDENTITY_BITS = {
  vendor: 16,
  device: 16,
  classCode: 24,
  revision: 8,
  subsystemVendor: 16,
  subsystemDevice: 16,
} as const;

function completeIdentity(identity: PciIdentity): Required<PciIdentity> {
  const complete = { revision: 0, subsystemVendor: 0, subsystemDevice: 0, ...identity };
  if (!/^[\x20-\x7e]{1,64}$/.test(complete.kind)) {
    throw wrong('the kind of a device is 1 to 64 printable ASCII characters', { kind: complete.kind });
  }
  for (const [name, bits] of Object.entries(IDENTITY_BITS)) {
    const value = Reflect.get(complete, name);
    if (!Number.isInteger(value) || value < 0 || value >= 2 ** bits) {
      throw wrong(`the identity's ${name} is a number of ${bits} bits, not ${value}`, {
        [name]: String(value),
      });
    }
  }
  return complete;
}

/** The smallest BARs that have room for their type bits (PCI 3.0, section 6.2.5.1). */
const SMALLEST = { memory: 16, io: 4 } as const;

function checkBars(bars: Bars): void {
  for (const index of BAR_INDICES) {
    const bar = bars[index];
    if (bar === undefined) continue;
    const { size, space, bits, prefetchable } = bar;
    const context = { bar: index, size };
    const power = Number.isSafeInteger(size) && size > 0 && Number.isInteger(Math.log2(size));
    if (!power || size < SMALLEST[space]) {
      throw wrong(
        `BAR${index}: its size is a power of two, at least ${SMALLEST[space]}, not ${size}`,
        context,
      );
    }
    if (space === 'io' && (bits === 64 || prefetchable)) {
      throw wrong(`BAR${index}: an I/O BAR is neither 64-bit nor prefetchable`, context);
    }
    if (bits === 32 && size > 2 ** 31) throw wrong(`BAR${index}: above 2 GiB a BAR has 64 bits`, context);
    if (bits === 64 && (index === 5 || followerOf(bars, index) !== undefined)) {
      throw wrong(`BAR${index}: a 64-bit BAR needs the next index as well`, context);
    }
  }
}

function followerOf(bars: Bars, index: BarIndex): Bar | undefined {
  const next = BAR_INDICES.find((candidate) => candidate === index + 1);
  return next === undefined ? undefined : bars[next];
}

function checkMsi({ vectors }: MsiDeclaration): void {
  if (![1, 2, 4, 8, 16, 32].includes(vectors)) {
    throw wrong(`MSI has 1, 2, 4, 8, 16 or 32 vectors, not ${vectors}`, { vectors });
  }
}

function normalise<D extends { readonly vectors: number }>(
  declared: number | D | undefined,
): D | { vectors: number } | null {
  if (declared === undefined || declared === 0) return null;
  return typeof declared === 'number' ? { vectors: declared } : declared;
}

/** A BAR of its own for MSI-X has at least a page, so that nothing else shares the page. */
const SMALLEST_MSIX_BAR = 4096;

function placeMsix(
  bars: Bars,
  declared: MsixDeclaration | null,
): { readonly bars: Bars; readonly msix: MsixPlacement | null } {
  if (declared === null) return { bars, msix: null };
  const { vectors, table = 0 } = declared;
  if (!Number.isInteger(vectors) || vectors < 1 || vectors > 2048) {
    throw wrong(`MSI-X has 1 to 2048 vectors, not ${vectors}`, { vectors });
  }
  const pba = declared.pba ?? Math.ceil((table + tableSize(vectors)) / 8) * 8;
  const end = Math.max(table + tableSize(vectors), pba + pbaSize(vectors));
  if (declared.bar === undefined) {
    const own = freeIndex(bars);
    const size = Math.max(SMALLEST_MSIX_BAR, 2 ** Math.ceil(Math.log2(end)));
    const bar: Bar = {
      size,
      space: 'memory',
      bits: 32,
      prefetchable: false,
      content: NOTHING,
      sharing: null,
    };
    return { bars: { ...bars, [own]: bar }, msix: { vectors, bar: own, table, pba } };
  }
  const msix = { vectors, bar: declared.bar, table, pba };
  checkMsixPlace(bars[declared.bar], msix, end);
  return { bars, msix };
}

function freeIndex(bars: Bars): BarIndex {
  const taken = (index: number) =>
    BAR_INDICES.some(
      (other) =>
        bars[other] !== undefined && (other === index || (other === index - 1 && bars[other].bits === 64)),
    );
  const free = BAR_INDICES.find((index) => !taken(index));
  if (free === undefined) throw wrong('no BAR is free for the MSI-X table: name one with msix.bar', {});
  return free;
}

function checkMsixPlace(bar: Bar | undefined, msix: MsixPlacement, end: number): void {
  const { vectors, table, pba } = msix;
  const context = { bar: msix.bar, table, pba };
  if (bar?.space !== 'memory') throw wrong(`MSI-X is in a memory BAR, and BAR${msix.bar} is none`, context);
  if (table % 8 !== 0 || pba % 8 !== 0 || !(table >= 0) || !(pba >= 0) || end > bar.size) {
    throw wrong(`MSI-X table and PBA are 8-byte aligned and inside BAR${msix.bar}`, context);
  }
  if (overlap(table, tableSize(vectors), pba, pbaSize(vectors)))
    throw wrong('MSI-X table and PBA overlap', context);
  for (const area of bar.sharing?.areas ?? []) {
    if (
      overlap(area.offset, area.size, table, tableSize(vectors)) ||
      overlap(area.offset, area.size, pba, pbaSize(vectors))
    ) {
      throw wrong(
        `a client that maps BAR${msix.bar} would not reach the MSI-X table: leave it out of mmap`,
        context,
      );
    }
  }
}

function overlap(a: number, aSize: number, b: number, bSize: number): boolean {
  return a < b + bSize && b < a + aSize;
}

function wrong(message: string, context: ErrorContext): DeviceError {
  return new DeviceError('ERR_DEVICE_DECLARATION', message, { errno: Errno.EINVAL, context });
}
