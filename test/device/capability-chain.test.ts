import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type DeviceDeclaration, draw } from '../../src/device/blueprint.ts';
import { resetBytes } from '../../src/device/configuration-space.ts';
import {
  type Capability,
  type DeviceOptions,
  type ExtendedCapability,
  vendorSpecific,
  vendorSpecificExtended,
} from '../../src/device/index.ts';

const IDENTITY = { kind: 'test', vendor: 0x494f, device: 0x0dc8, classCode: 0xff0000 };

function drawn(options: DeviceOptions, interrupts: DeviceDeclaration['interrupts'] = {}) {
  const { config } = draw({ identity: IDENTITY, bars: {}, interrupts, options });
  return { config, bytes: resetBytes(config) };
}

interface Found {
  readonly id: number;
  readonly at: number;
}

/** Walks as a guest does: from the pointer in the header. Gives up after more steps than there is room for. */
function walk(bytes: Uint8Array): Found[] {
  const found: Found[] = [];
  for (let at = bytes[0x34] ?? 0; at !== 0 && found.length < 64; at = bytes[at + 1] ?? 0) {
    found.push({ id: bytes[at] ?? 0, at });
  }
  return found;
}

/** Walks the extended capabilities from 0x100. */
function walkExtended(bytes: Uint8Array): (Found & { version: number })[] {
  if (bytes.length < 4096) return [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const found: (Found & { version: number })[] = [];
  for (let at = 0x100; at !== 0 && found.length < 2048; ) {
    const header = view.getUint32(at, true);
    if (header === 0) break;
    found.push({ id: header & 0xffff, version: (header >>> 16) & 0xf, at });
    at = header >>> 20;
  }
  return found;
}

const nothing = { read: () => {}, write: () => {} };

/** Whatever an author may declare, few enough to have room. */
const declarations = fc
  .record({
    express: fc.boolean(),
    powerManagement: fc.boolean(),
    serial: fc.boolean(),
    msi: fc.constantFrom(
      undefined,
      { vectors: 1, address64: false },
      { vectors: 4 },
      { vectors: 32, maskable: true },
    ),
    msix: fc.constantFrom(undefined, 1, 64),
    vendor: fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 4 }),
    callbacks: fc.array(fc.integer({ min: 2, max: 12 }), { maxLength: 2 }),
    pinned: fc.constantFrom(undefined, 0x40, 0x80, 0xf8),
    vsec: fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 4 }),
    vsecPinned: fc.constantFrom(undefined, 0x400, 0xff4),
  })
  .map(({ express, vendor, callbacks, pinned, vsec, vsecPinned, serial, ...rest }) => {
    const capabilities: Capability[] = [
      ...vendor.map((length, i) => vendorSpecific({ name: `V${i}`, bytes: new Uint8Array(length) })),
      ...callbacks.map((size, i) => ({ name: `C${i}`, id: 0x0c + i, size, callbacks: nothing })),
    ];
    if (pinned !== undefined) capabilities.push({ name: 'PINNED', id: 0x0d, size: 8, offset: pinned });
    const extendedCapabilities: ExtendedCapability[] = vsec.map((length, i) =>
      vendorSpecificExtended({ name: `E${i}`, id: i, bytes: new Uint8Array(length) }),
    );
    if (vsecPinned !== undefined && vsec.length > 0) {
      extendedCapabilities.push({ name: 'AT', id: 0x1234, size: 12, version: 3, offset: vsecPinned });
    }
    return {
      options: {
        express,
        powerManagement: rest.powerManagement,
        capabilities,
        ...(express ? { extendedCapabilities } : {}),
        ...(express && serial ? { serialNumber: 0x0123_4567_89ab_cdefn } : {}),
      },
      interrupts: {
        ...(rest.msi === undefined ? {} : { msi: rest.msi }),
        ...(rest.msix === undefined ? {} : { msix: rest.msix }),
      },
    };
  });

/** What a device with these declarations should show: each capability's id and size. */
function expected({
  options,
  interrupts,
}: {
  options: DeviceOptions;
  interrupts: DeviceDeclaration['interrupts'];
}) {
  const standard: [number, number][] = [
    ...(options.powerManagement ? [[1, 8] as [number, number]] : []),
    ...(interrupts.msi === undefined ? [] : [[5, 10] as [number, number]]),
    ...(interrupts.msix === undefined ? [] : [[0x11, 12] as [number, number]]),
    ...(options.express ? [[0x10, 0x3c] as [number, number]] : []),
    ...(options.capabilities ?? []).map(({ id, size }): [number, number] => [id, size]),
  ];
  const extended: [number, number][] = [
    ...(options.serialNumber === undefined ? [] : [[3, 12] as [number, number]]),
    ...(options.extendedCapabilities ?? []).map(({ id, size }): [number, number] => [id, size]),
  ];
  return { standard, extended };
}

/** Every walked capability is aligned, inside, and ends before the next begins. */
function checkPlaces(
  found: readonly Found[],
  sizes: readonly [number, number][],
  begin: number,
  end: number,
) {
  expect(found.map(({ id }) => id).sort()).toEqual(sizes.map(([id]) => id).sort());
  let free = begin;
  for (const { at, id } of found) {
    expect(at % 4).toBe(0);
    expect(at).toBeGreaterThanOrEqual(free);
    free = at + Math.min(...sizes.filter((size) => size[0] === id).map(([, size]) => size));
  }
  expect(free).toBeLessThanOrEqual(end);
}

describe('the chain of capabilities', () => {
  it('is found whole by walking it, aligned, without overlap, for any combination that has room', () => {
    let chained = 0;
    fc.assert(
      fc.property(declarations, (declaration) => {
        let bytes: Uint8Array;
        let names: readonly { offset: number; size: number }[];
        try {
          const { config, bytes: reset } = drawn(declaration.options, declaration.interrupts);
          bytes = reset;
          names = config.registers;
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_DEVICE_DECLARATION' });
          expect(String(error)).toMatch(/no room|overlap/);
          return;
        }
        chained++;
        const { standard, extended } = expected(declaration);
        checkPlaces(walk(bytes), standard, 0x40, 0x100);
        checkPlaces(walkExtended(bytes), extended, 0x100, 0x1000);
        const owner = new Uint8Array(bytes.length);
        for (const { offset, size } of names) {
          expect(owner.subarray(offset, offset + size).every((taken) => taken === 0)).toBe(true);
          owner.fill(1, offset, offset + size);
        }
      }),
      { numRuns: 300 },
    );
    expect(chained, 'most combinations have room').toBeGreaterThan(100);
  });

  it('is empty without capabilities: no pointer, no bit in STATUS, no extended header', () => {
    const { bytes } = drawn({ express: false });
    expect([bytes[0x34], bytes[6], walk(bytes)]).toEqual([0, 0, []]);
    expect(walkExtended(drawn({ express: true }).bytes)).toEqual([]);
  });

  it('keeps the declared order, and puts others around those that say where they lie', () => {
    const { bytes } = drawn({
      powerManagement: true,
      capabilities: [
        vendorSpecific({ bytes: new Uint8Array(21) }),
        { name: 'FIXED', id: 0x0d, size: 6, offset: 0x50 },
      ],
    });
    expect(walk(bytes)).toEqual([
      { id: 1, at: 0x40 },
      { id: 0x0d, at: 0x50 },
      { id: 9, at: 0x58 },
    ]);
  });

  it('uses a gap that just fits', () => {
    const { bytes } = drawn({
      powerManagement: true,
      capabilities: [
        { name: 'FIXED', id: 0x0d, size: 6, offset: 0x50 },
        { name: 'FITS', id: 0x0e, size: 8 },
      ],
    });
    expect(walk(bytes)).toEqual([
      { id: 1, at: 0x40 },
      { id: 0x0e, at: 0x48 },
      { id: 0x0d, at: 0x50 },
    ]);
  });

  it('has extended capabilities with their version, the first at 0x100', () => {
    const { bytes } = drawn({
      express: true,
      serialNumber: 0x0123_4567_89ab_cdefn,
      extendedCapabilities: [
        vendorSpecificExtended({ id: 0xabcd, revision: 2, bytes: Uint8Array.of(1, 2, 3), offset: 0x400 }),
        { name: 'OWN', id: 0x7fff, version: 5, size: 4 },
      ],
    });
    expect(walkExtended(bytes)).toEqual([
      { id: 3, version: 1, at: 0x100 },
      { id: 0x7fff, version: 5, at: 0x10c },
      { id: 0x0b, version: 1, at: 0x400 },
    ]);
    const view = new DataView(bytes.buffer);
    expect(view.getBigUint64(0x104, true)).toBe(0x0123_4567_89ab_cdefn);
    expect(view.getUint32(0x404, true), 'ID, revision, length').toBe(0x00b2_abcd);
    expect([...bytes.subarray(0x408, 0x40c)]).toEqual([1, 2, 3, 0]);
  });

  it('fills its space to the last byte', () => {
    const { bytes } = drawn({ capabilities: [vendorSpecific({ bytes: new Uint8Array(189).fill(0xee) })] });
    expect(bytes[0xff]).toBe(0xee);
    expect(bytes[0x42], 'the length').toBe(192);
    const size = 0xf00 - 8;
    const whole = vendorSpecificExtended({ id: 1, bytes: new Uint8Array(size).fill(0xdd) });
    expect(drawn({ express: true, extendedCapabilities: [whole] }).bytes[0xfff]).toBe(0xdd);
  });

  const own = (capability: Partial<Capability>): DeviceOptions => ({
    capabilities: [{ name: 'OWN', id: 0x0d, size: 8, ...capability }],
  });
  const register = { name: 'R', offset: 2, size: 2 } as const;

  it.each<[string, DeviceOptions, RegExp]>([
    ['an id of 9 bits', own({ id: 0x100 }), /its id is 0 to 255/],
    ['a fractional id', own({ id: 1.5 }), /its id/],
    ['less than its header', own({ size: 1 }), /its size/],
    ['a place that is not aligned', own({ offset: 0x42 }), /multiple of 4/],
    ['a place in the header', own({ offset: 0x3c }), /no room/],
    ['a place across the end', own({ offset: 0xfc }), /no room/],
    ['more than there is room for', own({ size: 0xc1 }), /no room/],
    ['a register over its id', own({ registers: [{ ...register, offset: 1 }] }), /overlaps/],
    ['registers over each other', own({ registers: [register, { ...register, offset: 3 }] }), /overlaps/],
    ['a register behind its end', own({ registers: [{ ...register, offset: 7 }] }), /inside/],
    ['a register between bytes', own({ registers: [{ ...register, offset: 2.5 }] }), /whole/],
    ['a reset value that does not fit', own({ registers: [{ ...register, reset: 0x10000 }] }), /fit/],
    ['a mask that does not fit', own({ registers: [{ ...register, writable: -1 }] }), /fit/],
    ['a bit of two kinds', own({ registers: [{ ...register, writable: 3, clearable: 2 }] }), /either/],
    [
      'choices of bits that are fixed',
      own({ registers: [{ ...register, writable: 1, choices: { mask: 3, values: [0] } }] }),
      /choices are among/,
    ],
    [
      'a reset value that nobody can choose',
      own({ registers: [{ ...register, writable: 3, choices: { mask: 3, values: [1] } }] }),
      /none of its choices/,
    ],
    ['registers and callbacks', own({ registers: [register], callbacks: nothing }), /not both/],
    ['an id that an option declares', own({ id: 0x05 }), /interrupts\.msi/],
    ['the name of another', { ...own({ name: 'PM' }), powerManagement: true }, /two capabilities/],
    [
      'a place that is taken',
      {
        capabilities: [own({ offset: 0x40 }), own({ name: 'TWO', offset: 0x44 })].flatMap(
          (o) => o.capabilities ?? [],
        ),
      },
      /overlap/,
    ],
    [
      'extended ones without PCI Express',
      { extendedCapabilities: [{ name: 'E', id: 1, size: 8 }] },
      /needs 4096 bytes/,
    ],
    ['a serial number without PCI Express', { serialNumber: 1n }, /needs 4096 bytes/],
    ['a serial number of 65 bits', { express: true, serialNumber: 1n << 64n }, /64 bits/],
    [
      'extended ones that nobody would find',
      { express: true, extendedCapabilities: [{ name: 'E', id: 1, size: 8, offset: 0x200 }] },
      /0x100/,
    ],
    ['a payload that PCI Express lacks', { express: { maxPayload: 64 } }, /largest payload/],
  ])('is refused with %s', (_, options, message) => {
    expect(() => drawn(options)).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_DECLARATION', message: expect.stringMatching(message) }),
    );
  });
});

describe('vendor-specific bytes', () => {
  it('have as many masks as bytes', () => {
    const vendor = { bytes: new Uint8Array(3), writable: new Uint8Array(2) };
    expect(() => vendorSpecific(vendor)).toThrow(/masks/);
    expect(() => vendorSpecificExtended({ id: 1, ...vendor })).toThrow(/masks/);
  });

  it.each([
    [0x10000, 0],
    [-1, 0],
    [1, 16],
  ])('have an ID and a revision that fit: %d, %d do not', (id, revision) => {
    expect(() => vendorSpecificExtended({ id, revision, bytes: new Uint8Array(1) })).toThrow(/16 bits/);
  });
});
