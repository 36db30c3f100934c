import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parsePciConfig } from '../../src/client/index.ts';

/** The configuration space of a QEMU edu-like device with everything a server may have, by hand. */
function space(size = 256): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUInt16LE(0x1234, 0x00);
  bytes.writeUInt16LE(0x11e8, 0x02);
  bytes.writeUInt16LE(0x0406, 0x04);
  bytes.writeUInt16LE(0x0010, 0x06);
  bytes.writeUInt8(0x10, 0x08);
  bytes.writeUIntLE(0xff0001, 0x09, 3);
  bytes.writeUInt8(0x80, 0x0e);
  bytes.writeUInt32LE(0xfea0_0000, 0x10); // 32-bit memory
  bytes.writeUInt32LE(0x0000_c001, 0x14); // I/O
  bytes.writeUInt32LE(0xd000_000c, 0x18); // 64-bit, prefetchable, low half
  bytes.writeUInt32LE(0x0000_00ab, 0x1c); // high half
  bytes.writeUInt16LE(0x1af4, 0x2c);
  bytes.writeUInt16LE(0x1100, 0x2e);
  bytes.writeUInt8(0x40, 0x34);
  bytes.writeUInt8(11, 0x3c);
  bytes.writeUInt8(1, 0x3d);
  capability(bytes, 0x40, 0x01, 0x50, [0x0003, 0x0003]); // power management: version 3, D3hot
  capability(bytes, 0x50, 0x05, 0x60, [0x0187]); // MSI: enabled, 8 capable, 1 allocated, 64-bit, maskable
  capability(bytes, 0x60, 0x11, 0x70, [0xc01f, 0x2004, 0x0000, 0x3002, 0x0000]); // MSI-X: 32 vectors
  capability(bytes, 0x70, 0x10, 0x80, [0x0002, 0x0000, 0x1000]); // PCI Express: endpoint, can reset itself
  capability(bytes, 0x80, 0x2a, 0x00, []); // something of the future
  return bytes;
}

function capability(bytes: Buffer, at: number, id: number, next: number, words: readonly number[]): void {
  bytes.writeUInt8(id, at);
  bytes.writeUInt8(next, at + 1);
  for (const [i, word] of words.entries()) bytes.writeUInt16LE(word, at + 2 + 2 * i);
}

const u32 = (low: number, high: number): number => low | (high << 16);

describe('parsePciConfig', () => {
  it('decodes the header', () => {
    expect(parsePciConfig(space())).toMatchObject({
      vendor: 0x1234,
      device: 0x11e8,
      command: 0x0406,
      status: 0x0010,
      revision: 0x10,
      classCode: 0xff0001,
      headerType: 0x80,
      subsystemVendor: 0x1af4,
      subsystemDevice: 0x1100,
      interruptLine: 11,
      interruptPin: 1,
    });
  });

  it('decodes BARs; a 64-bit one takes two places', () => {
    expect(parsePciConfig(space())?.bars).toEqual([
      { index: 0, kind: 'memory', address: 0xfea0_0000n, wide: false, prefetchable: false },
      { index: 1, kind: 'io', address: 0xc000n, wide: false, prefetchable: false },
      { index: 2, kind: 'memory', address: 0xab_d000_0000n, wide: true, prefetchable: true },
    ]);
  });

  it('follows the capabilities and decodes those it knows', () => {
    expect(parsePciConfig(space())?.capabilities).toEqual([
      {
        id: 1,
        name: 'Power Management',
        offset: 0x40,
        extended: false,
        details: { version: 3, powerState: 3 },
      },
      {
        id: 5,
        name: 'MSI',
        offset: 0x50,
        extended: false,
        details: { enabled: true, capable: 8, allocated: 1, wide: true, maskable: true },
      },
      {
        id: 0x11,
        name: 'MSI-X',
        offset: 0x60,
        extended: false,
        details: {
          enabled: true,
          masked: true,
          vectors: 32,
          tableBar: 4,
          tableOffset: 0x2000,
          pendingBar: 2,
          pendingOffset: 0x3000,
        },
      },
      {
        id: 0x10,
        name: 'PCI Express',
        offset: 0x70,
        extended: false,
        details: { version: 2, type: 0, functionLevelReset: true },
      },
      { id: 0x2a, name: 'capability 0x2a', offset: 0x80, extended: false, details: {} },
    ]);
  });

  it('follows the extended capabilities of a PCI Express device', () => {
    const bytes = space(4096);
    bytes.writeUInt32LE(u32(0x0003, 0x1401), 0x100); // device serial number, next at 0x140
    bytes.writeUInt32LE(u32(0x00ff, 0x0001), 0x140);
    const extended = parsePciConfig(bytes)?.capabilities.filter(({ extended: is }) => is);
    expect(extended?.map(({ id, name, offset }) => [id, name, offset])).toEqual([
      [3, 'Device Serial Number', 0x100],
      [0xff, 'capability 0xff', 0x140],
    ]);
  });

  it.each([
    [
      'a serial number',
      0x0003,
      [0x89ab_cdef, 0x0123_4567],
      { name: 'Device Serial Number', details: { serialNumber: 0x0123_4567_89ab_cdefn } },
    ],
    [
      "the vendor's own",
      0x000b,
      [0x0182_abcd],
      { name: 'Vendor Specific', details: { vsecId: 0xabcd, revision: 2, length: 0x18 } },
    ],
    [
      'advanced error reporting',
      0x0001,
      [0x8010_0000, 0x0040_0000, 0x0046_2030, 0x0000_2001, 0x0000_6000, 0xffff_ffe5],
      {
        name: 'Advanced Error Reporting',
        details: {
          uncorrectableStatus: 0x8010_0000,
          uncorrectableMask: 0x0040_0000,
          correctableStatus: 0x2001,
          correctableMask: 0x6000,
          firstError: 5,
        },
      },
    ],
  ])('decodes %s in the extended list, unless the space ends before it', (_, id, words, expected) => {
    const extended = (bytes: Buffer) =>
      parsePciConfig(bytes)?.capabilities.filter(({ extended: is }) => is) ?? [];
    const bytes = space(0x104 + 4 * words.length);
    bytes.writeUInt32LE(u32(id, 1), 0x100);
    for (const [i, word] of words.entries()) bytes.writeUInt32LE(word, 0x104 + 4 * i);
    expect(extended(bytes)).toEqual([{ id, offset: 0x100, extended: true, ...expected }]);
    expect(extended(bytes.subarray(0, bytes.length - 1))).toMatchObject([{ id, details: {} }]);
  });

  it('says how long what is specific to a vendor is', () => {
    const bytes = space();
    capability(bytes, 0x80, 0x09, 0, [0x0014]);
    expect(parsePciConfig(bytes)?.capabilities.at(-1)).toMatchObject({
      name: 'Vendor Specific',
      details: { length: 20 },
    });
  });

  it('follows no list that the status register does not announce', () => {
    const bytes = space();
    bytes.writeUInt16LE(0, 0x06);
    expect(parsePciConfig(bytes)?.capabilities).toEqual([]);
  });

  it.each([
    ['to itself', 0x40, 0x40, 1],
    ['back', 0x80, 0x40, 5],
    ['into the header', 0x40, 0x10, 1],
    ['beyond the end', 0x40, 0xff, 1],
  ])('ends a list that points %s', (_, at, next, count) => {
    const bytes = space();
    if (next === 0xff) bytes.fill(0, 0xfc);
    bytes.writeUInt8(next, at + 1);
    const found = parsePciConfig(bytes)?.capabilities ?? [];
    expect(found.length).toBeLessThanOrEqual(count + 1);
    expect(new Set(found.map(({ offset }) => offset)).size).toBe(found.length);
  });

  it('ends an extended list that loops', () => {
    const bytes = space(4096);
    bytes.writeUInt32LE(u32(0x0003, 0x1001), 0x100);
    expect(parsePciConfig(bytes)?.capabilities.filter(({ extended }) => extended)).toHaveLength(1);
  });

  it('takes any bytes without harm', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 600 }), (bytes) => {
        const config = parsePciConfig(bytes);
        expect(config === null).toBe(bytes.length < 64);
        expect(config?.capabilities.length ?? 0).toBeLessThan(200);
      }),
      { numRuns: 500 },
    );
  });
});
