import type { VmSequence } from '../step.ts';
import { both } from '../together.ts';
import type { PciAddress } from './attached.ts';

/**
 * Where firmware puts the configuration space of a q35 (PCI Express Base 5.0, 7.2.2, enhanced configuration access):
 * SeaBIOS, OVMF.
 */
const CANDIDATES: readonly bigint[] = [0xb000_0000n, 0xe000_0000n];

/** PCIEXBAR of the host bridge (Intel 3 Series chipset datasheet, 5.1.16): bit 0 enables. */
const PCIEXBAR_AT = 0x60n;
const PCIEXBAR_ADDRESS = ~0x03ff_ffffn;

/** Where configuration space lies in memory, verified. */
export interface Ecam {
  readonly base: bigint;
  /** Vendor and device of the host bridge. */
  readonly hostBridge: number;
}

/** Reads physical memory, by the monitor or by the gdb stub; null where nothing answers. */
export type Peek = (address: bigint, length: number) => VmSequence<Uint8Array | null>;

/** Finds it: the host bridge has to be there, and has to say that it is there. Null: nowhere. */
export function* findEcam(peek: Peek, candidates: readonly bigint[] = CANDIDATES): VmSequence<Ecam | null> {
  for (const base of candidates) {
    const [identity, pointer] = yield* both(peek(base, 4), peek(base + PCIEXBAR_AT, 8));
    if (identity === null || pointer === null) continue;
    const hostBridge = new DataView(identity.buffer, identity.byteOffset).getUint32(0, true);
    const told = new DataView(pointer.buffer, pointer.byteOffset).getBigUint64(0, true);
    if (isDevice(hostBridge) && (told & 1n) === 1n && (told & PCIEXBAR_ADDRESS) === base)
      return { base, hostBridge };
  }
  return null;
}

/** The address of a device's configuration space. */
export function ecamAddress(base: bigint, { bus, slot, function: fn }: PciAddress): bigint {
  return base + (BigInt(bus) << 20n) + (BigInt(slot) << 15n) + (BigInt(fn) << 12n);
}

function isDevice(id: number): boolean {
  return id !== 0 && id !== 0xffff_ffff;
}
