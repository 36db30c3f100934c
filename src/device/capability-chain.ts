import { CallbackContent } from './callback-content.ts';
import type { Capability, ExtendedCapability } from './capability.ts';
import { type CapabilitySpace, checkCapability } from './capability-rules.ts';
import type { ConfigRegister, ConfigWindow } from './configuration-space.ts';
import { wrongDeclaration } from './declaration-error.ts';
import { HEADER_SIZE } from './type0-header.ts';

/** Capabilities behind the header, with an 8-bit id and next pointer (PCI 3.0, section 6.7). */
export const STANDARD: CapabilitySpace<Capability> = {
  what: 'capability',
  begin: HEADER_SIZE,
  end: 0x100,
  header: 2,
  largestId: 0xff,
  heading: ({ id }, at, next) => [
    { name: 'ID', offset: at, size: 1, reset: id },
    { name: 'NEXT', offset: at + 1, size: 1, reset: next },
  ],
};

/** Extended capabilities: id, version and next pointer in 32 bits (PCI Express Base Specification, section 7.6.3). */
export const EXTENDED: CapabilitySpace<ExtendedCapability> = {
  what: 'extended capability',
  begin: 0x100,
  end: 0x1000,
  header: 4,
  largestId: 0xffff,
  heading: ({ id, version = 1 }, at, next) => [
    { name: 'HEADER', offset: at, size: 4, reset: (id | (version << 16) | (next << 20)) >>> 0 },
  ],
};

/** Capabilities in their places, linked. */
export interface CapabilityChain {
  /** Offset of the first; 0 without any. */
  readonly first: number;
  readonly registers: readonly ConfigRegister[];
  readonly windows: readonly ConfigWindow[];
}

/** Capabilities are aligned to this. */
const ALIGNMENT = 4;

interface Placed<C> {
  readonly capability: C;
  readonly at: number;
  readonly end: number;
}

/**
 * Places capabilities and links them by ascending offset: first those that say where they lie, then each other one
 * where it fits first. Throws DeviceError (ERR_DEVICE_DECLARATION) for one that makes no sense, overlaps or has no room.
 */
export function chain<C extends Capability>(
  space: CapabilitySpace<C>,
  capabilities: readonly C[],
): CapabilityChain {
  for (const capability of capabilities) checkCapability(space, capability);
  const placed = place(space, capabilities);
  const nexts = placed.map((_, i) => placed[i + 1]?.at ?? 0);
  return {
    first: placed[0]?.at ?? 0,
    registers: placed.flatMap(({ capability, at }, i) => registersOf(space, capability, at, nexts[i] ?? 0)),
    windows: placed.flatMap(({ capability, at }) => windowsOf(space, capability, at)),
  };
}

/** Ascending by offset. */
function place<C extends Capability>(
  space: CapabilitySpace<C>,
  capabilities: readonly C[],
): readonly Placed<C>[] {
  const placed: Placed<C>[] = [];
  const fixed = capabilities.filter(({ offset }) => offset !== undefined);
  const floating = capabilities.filter(({ offset }) => offset === undefined);
  for (const capability of [...fixed, ...floating]) {
    const size = Math.ceil(capability.size / ALIGNMENT) * ALIGNMENT;
    const at = capability.offset ?? firstGap(space, placed, size);
    const end = at + size;
    const other = placed.find((taken) => at < taken.end && taken.at < end);
    if (other !== undefined) {
      const message = `${capability.name} and ${other.capability.name} overlap in the configuration space`;
      throw wrongDeclaration(message, { offset: at, end });
    }
    if (at < space.begin || end > space.end) throw noRoom(space, capability);
    placed.push({ capability, at, end });
    placed.sort((a, b) => a.at - b.at);
  }
  return placed;
}

/** The lowest offset behind the ends of others, or at the beginning, from which on `size` bytes are free. */
function firstGap(space: CapabilitySpace, placed: readonly Placed<Capability>[], size: number): number {
  let at = space.begin;
  for (const taken of placed) {
    if (taken.at - at >= size) break;
    at = taken.end;
  }
  return at;
}

function registersOf<C extends Capability>(
  space: CapabilitySpace<C>,
  capability: C,
  at: number,
  next: number,
): readonly ConfigRegister[] {
  const { name, registers = [] } = capability;
  return [
    ...space.heading(capability, at, next),
    ...registers.map((register) => ({ ...register, offset: at + register.offset })),
  ].map((register) => ({ ...register, name: `${name}.${register.name}` }));
}

function windowsOf(
  { header }: CapabilitySpace,
  { size, callbacks }: Capability,
  at: number,
): readonly ConfigWindow[] {
  if (callbacks === undefined) return [];
  return [{ origin: at, offset: at + header, size: size - header, content: new CallbackContent(callbacks) }];
}

function noRoom({ what, begin, end }: CapabilitySpace, { name, size }: Capability) {
  return wrongDeclaration(
    `${what} ${name} of ${size} bytes has no room between 0x${begin.toString(16)} and 0x${end.toString(16)}`,
    { name, size },
  );
}
