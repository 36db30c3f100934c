import { describe, expect, it } from 'vitest';
import { type DeviceDeclaration, draw } from '../../src/device/blueprint.ts';
import { ConfigurationSpace, resetBytes } from '../../src/device/configuration-space.ts';
import { type Bar, type Bars, GiB, KiB, MiB } from '../../src/device/index.ts';
import { NOTHING } from '../../src/device/overlay-content.ts';

const IDENTITY = { kind: 'test', vendor: 0x494f, device: 0x0dc8, classCode: 0xff0000 };

function bar(size: number, options: Partial<Bar> = {}): Bar {
  return {
    size,
    space: 'memory',
    bits: 32,
    prefetchable: false,
    content: NOTHING,
    doorbells: [],
    sharing: null,
    ...options,
  };
}

function drawn(declaration: Partial<DeviceDeclaration> = {}) {
  return draw({ identity: IDENTITY, bars: {}, interrupts: {}, options: {}, ...declaration });
}

function configOf(declaration: Partial<DeviceDeclaration>) {
  const { config } = drawn(declaration);
  const space = new ConfigurationSpace(config, resetBytes(config), () => {});
  const read = (offset: number, length = 4): number => {
    const target = new Uint8Array(4);
    space.read(offset, target, 0, length);
    return new DataView(target.buffer).getUint32(0, true);
  };
  const write = (offset: number, value: number): void =>
    space.write(offset, new Uint8Array(Uint32Array.of(value).buffer), 0, 4);
  return { read, write, space };
}

describe('the header', () => {
  it('shows who the device is', () => {
    const identity = { ...IDENTITY, revision: 0x10, subsystemVendor: 0x1af4, subsystemDevice: 0x1100 };
    const { read } = configOf({ identity, interrupts: { intx: true } });
    expect([0, 8, 0x2c].map((offset) => read(offset))).toEqual([0x0dc8494f, 0xff000010, 0x11001af4]);
    expect(read(0x3d, 1)).toBe(1);
    expect(read(0x34, 1), 'no capabilities').toBe(0);
    expect(read(6, 2), 'and STATUS says so').toBe(0);
  });

  it('has no interrupt pin without INTx', () => {
    expect(configOf({}).read(0x3d, 1)).toBe(0);
  });

  it('lets software write COMMAND, INTERRUPT_LINE, cache line size and latency, and nothing else', () => {
    const { read, write } = configOf({ interrupts: { intx: true } });
    for (let offset = 0; offset < 256; offset += 4) write(offset, 0xffffffff);
    const changed = Object.fromEntries(
      Array.from({ length: 64 }, (_, word) => [word * 4, read(word * 4)] as const).filter(
        ([, value]) => value !== 0,
      ),
    );
    expect(changed).toEqual({
      0: 0x0dc8494f,
      4: 0x0547,
      8: 0xff000000,
      12: 0xffff,
      60: 0x01ff,
    });
  });
});

describe('BARs', () => {
  const sized = (value: Bars): number[] => {
    const { read, write } = configOf({ bars: value });
    return [0, 1, 2, 3, 4, 5].map((index) => {
      write(0x10 + 4 * index, 0xffffffff);
      return read(0x10 + 4 * index);
    });
  };

  it.each<[string, Bars, number[]]>([
    ['16 bytes of memory', { 0: bar(16) }, [0xfffffff0, 0, 0, 0, 0, 0]],
    ['4 KiB of memory', { 0: bar(4 * KiB) }, [0xfffff000, 0, 0, 0, 0, 0]],
    ['1 MiB, prefetchable', { 3: bar(1 * MiB, { prefetchable: true }) }, [0, 0, 0, 0xfff00008, 0, 0]],
    ['2 GiB', { 0: bar(2 * GiB) }, [0x80000000, 0, 0, 0, 0, 0]],
    ['256 bytes of I/O', { 5: bar(256, { space: 'io' }) }, [0, 0, 0, 0, 0, 0xffffff01]],
    ['64 bits', { 0: bar(64 * MiB, { bits: 64 }) }, [0xfc000004, 0xffffffff, 0, 0, 0, 0]],
    ['4 GiB', { 4: bar(4 * GiB, { bits: 64, prefetchable: true }) }, [0, 0, 0, 0, 0x0000000c, 0xffffffff]],
    ['1 TiB', { 2: bar(1024 * GiB, { bits: 64 }) }, [0, 0, 0x00000004, 0xffffff00, 0, 0]],
  ])('of %s tell their size', (_, bars, expected) => {
    expect(sized(bars)).toEqual(expected);
  });

  it.each<[string, Bars, string]>([
    ['no power of two', { 0: bar(3 * KiB) }, 'power of two'],
    ['nothing', { 0: bar(0) }, 'power of two'],
    ['less than 16 bytes', { 0: bar(8) }, 'at least 16'],
    ['4 GiB in 32 bits', { 0: bar(4 * GiB) }, '64 bits'],
    ['64 bits of I/O', { 0: bar(256, { space: 'io', bits: 64 }) }, 'neither'],
    ['64 bits in the last', { 5: bar(4 * KiB, { bits: 64 }) }, 'next index'],
    ['64 bits over another', { 0: bar(4 * KiB, { bits: 64 }), 1: bar(16) }, 'next index'],
  ])('of %s are refused', (_, bars, message) => {
    expect(() => drawn({ bars })).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_DECLARATION', message: expect.stringContaining(message) }),
    );
  });
});

describe('MSI-X', () => {
  it.each<[string, Bars, number]>([
    ['the first BAR', {}, 0],
    ['the one behind a 64-bit BAR', { 0: bar(4 * KiB, { bits: 64 }) }, 2],
    ['a gap', { 0: bar(16), 2: bar(16) }, 1],
  ])('gets a BAR of its own: %s', (_, bars, index) => {
    const { msix, bars: all } = drawn({ bars, interrupts: { msix: 4 } });
    expect(msix).toEqual({ vectors: 4, bar: index, table: 0, pba: 64 });
    expect(Object.values(all)).toHaveLength(Object.values(bars).length + 1);
  });

  it('gets a BAR with room for 2048 vectors', () => {
    const { bars } = drawn({ interrupts: { msix: 2048 } });
    expect(bars[0]?.size).toBe(64 * KiB);
  });

  it('lies in the BAR that the author names, and the capability says where', () => {
    const { read } = configOf({
      bars: { 4: bar(4 * KiB) },
      interrupts: { msix: { vectors: 3, bar: 4, table: 0x800, pba: 0xc00 } },
    });
    expect(read(0x34, 1)).toBe(0x40);
    expect([0x40, 0x44, 0x48].map((offset) => read(offset))).toEqual([0x00020011, 0x804, 0xc04]);
  });

  const shared = (areas: { offset: number; size: number }[]): Bars => {
    const sharing = { block: Object.create(null), areas };
    return { 0: bar(16 * KiB, { sharing }) };
  };

  it.each<[string, Bars, DeviceDeclaration['interrupts'], string]>([
    ['0.5 vectors', {}, { msix: 0.5 }, '1 to 2048'],
    ['2049 vectors', {}, { msix: 2049 }, '1 to 2048'],
    ['a BAR that is not there', {}, { msix: { vectors: 1, bar: 2 } }, 'memory BAR'],
    ['an I/O BAR', { 2: bar(256, { space: 'io' }) }, { msix: { vectors: 1, bar: 2 } }, 'memory BAR'],
    ['an unaligned table', { 0: bar(4 * KiB) }, { msix: { vectors: 1, bar: 0, table: 4 } }, 'aligned'],
    ['a table across the end', { 0: bar(64) }, { msix: { vectors: 8, bar: 0 } }, 'inside'],
    ['a PBA in the table', { 0: bar(4 * KiB) }, { msix: { vectors: 8, bar: 0, pba: 64 } }, 'overlap'],
    [
      'a table that clients map',
      shared([{ offset: 0, size: 16 * KiB }]),
      { msix: { vectors: 1, bar: 0 } },
      'mmap',
    ],
    [
      'a PBA that clients map',
      shared([{ offset: 4 * KiB, size: 4 * KiB }]),
      { msix: { vectors: 1, bar: 0, pba: 4 * KiB } },
      'mmap',
    ],
    [
      'no BAR left',
      { 0: bar(16, { bits: 64 }), 2: bar(16, { bits: 64 }), 4: bar(16, { bits: 64 }) },
      { msix: 1 },
      'free',
    ],
  ])('with %s is refused', (_, bars, interrupts, message) => {
    expect(() => drawn({ bars, interrupts })).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_DECLARATION', message: expect.stringContaining(message) }),
    );
  });

  it('lies beside the areas that clients map', () => {
    const bars = shared([{ offset: 8 * KiB, size: 8 * KiB }]);
    expect(drawn({ bars, interrupts: { msix: { vectors: 1, bar: 0 } } }).msix?.bar).toBe(0);
  });
});

it('PCI Express has 4096 bytes of configuration space, and the capability that says so', () => {
  const { read, space } = configOf({ options: { express: true, powerManagement: true } });
  expect(space.size).toBe(4096);
  expect(read(0x40, 2)).toBe(0x4801);
  expect(read(0x48, 4)).toBe(0x00020010);
  expect(read(0x100), 'no extended capabilities').toBe(0);
});

it.each([3, 0.5, 64, -1])('MSI with %d vectors is refused', (msi) => {
  expect(() => drawn({ interrupts: { msi } })).toThrow(/1, 2, 4, 8, 16 or 32/);
});

it.each([
  [{ kind: '' }],
  [{ kind: 'a\n' }],
  [{ kind: 'x'.repeat(65) }],
  [{ vendor: 0x10000 }],
  [{ device: -1 }],
  [{ classCode: 0x1000000 }],
  [{ revision: 256 }],
  [{ subsystemVendor: 1.5 }],
])('an identity with %j is refused', (wrong) => {
  expect(() => drawn({ identity: { ...IDENTITY, ...wrong } })).toThrow(
    expect.objectContaining({ code: 'ERR_DEVICE_DECLARATION' }),
  );
});
