import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { draw } from '../../src/device/blueprint.ts';
import { type ConfigRegister, ConfigurationSpace, resetBytes } from '../../src/device/configuration-space.ts';
import { KiB, MiB, PciDevice, type ServedDevice } from '../../src/device/index.ts';
import { RegionIndex } from '../../src/protocol/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { FakeHost, peek, poke } from '../helpers/fake-host.ts';
import { Full, PLACE } from './full-configuration.ts';

const closing: { close(): void }[] = [];
afterEach(() => {
  for (const one of closing.splice(0).reverse()) one.close();
});

function serve<D extends PciDevice>(device: D) {
  const host = new FakeHost();
  const served = device.bind(host);
  closing.push(host, served);
  return { device, served, config: served.regions[RegionIndex.CONFIG] };
}

/** Every 32-bit word of a configuration space, without those that are 0. */
function words(config: ServedDevice['regions'][number] | undefined): Record<string, string> {
  const found: Record<string, string> = {};
  for (let offset = 0; offset < (config?.size ?? 0); offset += 4) {
    const value = peek(config, offset);
    if (value !== 0n) found[`0x${offset.toString(16)}`] = value.toString(16);
  }
  return found;
}

describe('a configuration space with everything', () => {
  it('shows every register with its reset value', () => {
    expect(words(serve(new Full()).config)).toEqual({
      '0x0': 'dc8494f',
      '0x4': '100000',
      '0x8': '1080203',
      '0x34': '40',
      '0x3c': '100',
      '0x40': '34801',
      '0x44': '8',
      '0x48': '1846005',
      '0x60': '16c11',
      '0x64': '1',
      '0x68': '21',
      '0x6c': '2a810',
      '0x70': '10008002',
      '0x74': '2810',
      '0x78': '11',
      '0x7c': '110000',
      '0x98': '2',
      '0x9c': '1',
      '0xa8': 'a006b009',
      '0xac': 'c0b0',
      '0xb0': '201000d',
      '0xb4': '403',
      '0x100': '10c10003',
      '0x104': '89abcdef',
      '0x108': '1234567',
      '0x10c': '11811111',
      '0x110': 'ff00ff00',
      '0x114': '1',
      '0x118': '40012222',
      '0x11c': '4030201',
      '0x400': '1000b',
      '0x404': 'd00007',
      '0x408': '4030201',
      '0x40c': '5',
    });
  });

  it('takes what the masks let through, wherever software writes all ones, and nothing else', () => {
    const { config } = serve(new Full());
    const before = words(config);
    for (let offset = 0; offset < 4096; offset += 4) poke(config, offset, 0xffff_ffff);
    const after = words(config);
    const changed = Object.entries(after).filter(([offset, value]) => before[offset] !== value);
    expect(Object.fromEntries(changed)).toEqual({
      '0x4': '100547',
      '0xc': 'ffff',
      '0x10': 'fffff000',
      '0x14': 'fffff000',
      '0x30': 'fffff801',
      '0x3c': '1ff',
      '0x44': 'b',
      '0x48': '1f56005',
      '0x4c': 'fffffffc',
      '0x50': 'ffffffff',
      '0x54': 'ffff',
      '0x58': 'f',
      '0x60': 'c0016c11',
      '0x74': '781f',
      '0x7c': '1100cb',
      '0xac': 'ffbf',
      '0xb0': 'ffff000d',
      '0xb4': 'ffff',
      '0x110': 'f000f00',
      '0x114': '80000001',
      '0x11c': 'ffffffff',
      '0x408': 'f403ff01',
    });
    expect(Object.keys(before).filter((offset) => after[offset] === undefined)).toEqual([]);
  });

  const access = fc.record({
    offset: fc.integer({ min: 0, max: 4095 }),
    data: fc.uint8Array({ minLength: 1, maxLength: 24 }),
  });

  /** The specification, a bit at a time: what a write makes of one register's old value. */
  function modelled(
    { choices, writable = 0, clearable = 0 }: ConfigRegister,
    old: number,
    wrote: number,
    mask: number,
  ) {
    let value = old;
    for (let bit = 0; bit < 32; bit++) {
      const one = (1 << bit) >>> 0;
      if ((mask & one) === 0) continue;
      if (writable & one) value = (value & ~one) | (wrote & one);
      else if (clearable & wrote & one) value &= ~one;
    }
    if (choices !== undefined && !choices.values.includes(value & choices.mask)) {
      value = (value & ~choices.mask) | (old & choices.mask);
    }
    return value >>> 0;
  }

  it('equals a naive model, register by register and bit by bit, after any accesses', () => {
    const { config: layout } = draw(
      new Full({
        capabilities: [],
        extendedCapabilities: new Full().options.extendedCapabilities?.slice(0, 2) ?? [],
      }),
    );
    fc.assert(
      fc.property(fc.array(access, { maxLength: 20 }), (accesses) => {
        const config = new ConfigurationSpace(layout, resetBytes(layout), () => {});
        const values = new Map(layout.registers.map((register) => [register, (register.reset ?? 0) >>> 0]));
        for (const { offset, data: all } of accesses) {
          const data = all.subarray(0, 4096 - offset);
          config.write(offset, data, 0, data.length);
          for (const [register, old] of values) {
            let wrote = 0;
            let mask = 0;
            for (let i = 0; i < register.size; i++) {
              const at = register.offset + i - offset;
              if (at < 0 || at >= data.length) continue;
              wrote |= (data[at] ?? 0) << (8 * i);
              mask |= 0xff << (8 * i);
            }
            values.set(register, modelled(register, old, wrote, mask));
          }
        }
        for (const [register, value] of values) expect(config.get(register) >>> 0, register.name).toBe(value);
      }),
    );
  });

  it('equals a naive model of its bytes where registers and callbacks are met by one access', () => {
    const small = fc.record({
      at: fc.constantFrom(PLACE.own - 8, PLACE.ownExtended - 12, 0xf8),
      offset: fc.nat(16),
      data: fc.uint8Array({ maxLength: 24 }),
    });
    const { config, served } = serve(new Full());
    const whole = (): Uint8Array => {
      const bytes = new Uint8Array(0x200);
      config?.read(0, bytes, 0, bytes.length);
      return bytes;
    };
    fc.assert(
      fc.property(fc.array(small, { maxLength: 12 }), (accesses) => {
        served.reset();
        const model = whole();
        for (const { at, offset, data } of accesses) {
          const from = at + offset;
          config?.write(from, data, 0, data.length);
          for (const [i, value] of data.entries()) modelByte(model, from + i, value);
          const read = new Uint8Array(data.length + 2);
          config?.read(from, read, 1, data.length);
          expect([...read]).toEqual([0, ...model.subarray(from, from + data.length), 0]);
        }
        expect(whole()).toEqual(model);
      }),
    );
  });

  /** Around the callbacks: vendor bytes with masks, error bits cleared by writing 1, and the same four bytes twice. */
  function modelByte(model: Uint8Array, at: number, value: number): void {
    const old = model[at] ?? 0;
    const set = (writable: number) => {
      model[at] = (old & ~writable) | (value & writable);
    };
    const twin = [PLACE.own + 2, PLACE.ownExtended + 4].find((start) => at >= start && at < start + 4);
    if (twin !== undefined) {
      model[PLACE.own + 2 + at - twin] = value;
      model[PLACE.ownExtended + 4 + at - twin] = value;
    } else if (at === PLACE.vendor + 4) set(0x0f);
    else if (at === PLACE.vendor + 5) set(0xff);
    else if (at >= PLACE.errors + 4 && at < PLACE.errors + 8) model[at] = old & ~(value & 0xf0);
    else if (at === PLACE.errors + 8) set(0x01);
    else if (at === PLACE.errors + 11) set(0x80);
  }

  it('takes payload sizes that it has, and keeps the last where software asks for another', () => {
    const { config } = serve(new Full());
    const payload = (code: number): number => {
      poke(config, PLACE.express + 8, code << 5, 2);
      return (Number(peek(config, PLACE.express + 8, 2)) >> 5) & 7;
    };
    expect([1, 2, 3, 7, 0].map(payload)).toEqual([1, 2, 2, 2, 0]);
  });

  it('travels: each register that software can write, and what callbacks keep', () => {
    const { served: source, config } = serve(new Full());
    for (let offset = 0; offset < 4096; offset += 4)
      poke(config, offset, 0x5a5a_5a5a ^ (offset * 0x0101_0101));
    const { served: target, config: arrived } = serve(new Full());
    const { RUNNING_P2P, STOP, STOP_COPY, RESUMING, RUNNING } = MigrationState;
    source.migration.arc(RUNNING, RUNNING_P2P);
    source.migration.arc(RUNNING_P2P, STOP);
    source.migration.arc(STOP, STOP_COPY);
    target.migration.arc(RUNNING, RUNNING_P2P);
    target.migration.arc(RUNNING_P2P, STOP);
    target.migration.arc(STOP, RESUMING);
    const chunk = new Uint8Array(4096);
    for (let n = source.migration.read(chunk); n > 0; n = source.migration.read(chunk)) {
      target.migration.write(chunk.subarray(0, n));
    }
    target.migration.arc(RESUMING, STOP);
    expect(words(arrived)).toEqual(words(config));
    target.reset();
    expect(words(arrived), 'and a reset takes it back').toEqual(words(serve(new Full()).config));
  });
});

describe("an author's capability behind callbacks", () => {
  it('sees the part of each access that is its own, counted from its start', () => {
    const { device, config } = serve(new Full());
    expect(peek(config, PLACE.own, 8)).toBe(0x0403_0201_000dn);
    expect(peek(config, PLACE.own + 3, 1)).toBe(2n);
    poke(config, PLACE.own + 4, 0xbeef, 2);
    poke(config, PLACE.ownExtended, 0x77_ffff_ffffn, 5);
    expect(device.state.own).toBe(0xbeef_0277);
    expect(device.accesses).toEqual([
      ['read', 2, 4],
      ['read', 3, 1],
      ['write', 4, 2],
      ['write', 4, 1],
    ]);
    expect(peek(config, PLACE.ownExtended, 2), 'its header is not its own').toBe(0x2222n);
  });

  it('can ask for work, which comes after the access', () => {
    const { device, config } = serve(new Full());
    const before = device.state.kicked;
    poke(config, PLACE.own + 2, 1, 1);
    expect(device.state.kicked).toBe(before + 1);
  });

  it('refuses an access as a whole: no register beside it has changed', () => {
    const refusing = {
      name: 'NO',
      id: 0x0d,
      size: 4,
      callbacks: {
        read: () => {},
        write: () => {
          throw new TypeError('no');
        },
      },
    };
    const { config } = serve(new Full({ capabilities: [refusing] }));
    const at = PLACE.vendor;
    const command = peek(config, 4, 2);
    expect(() => config?.write(0, new Uint8Array(256).fill(0xff), 0, 256)).toThrow('no');
    expect(peek(config, at, 1)).toBe(0x0dn);
    expect(peek(config, 4, 2)).toBe(command);
  });
});

describe('the expansion ROM', () => {
  class WithRom extends PciDevice {
    readonly identity = { kind: 'rom', vendor: 1, device: 2, classCode: 0 };
    readonly bars = {};
    readonly interrupts = {};
    override readonly options;
    constructor(rom: Uint8Array | null) {
      super();
      this.options = rom === null ? {} : { rom };
    }
  }

  it.each([
    [1, 2 * KiB],
    [2 * KiB, 2 * KiB],
    [2 * KiB + 1, 4 * KiB],
    [48 * KiB, 64 * KiB],
    [16 * MiB, 16 * MiB],
  ])('of %d bytes has a region of %d, whose BAR tells so and can be enabled', (length, size) => {
    const contents = new Uint8Array(length).fill(0x11);
    const { served, config } = serve(new WithRom(contents));
    const rom = served.regions[RegionIndex.ROM];
    expect(rom).toMatchObject({ index: 6, size, readable: true, writable: false, shared: null });
    contents.fill(0);
    expect([peek(rom, 0, 1), peek(rom, length - 1, 1)]).toEqual([0x11n, 0x11n]);
    if (length < size) expect([peek(rom, length, 1), peek(rom, size - 1, 1)]).toEqual([0xffn, 0xffn]);
    expect(peek(config, 0x30)).toBe(0n);
    poke(config, 0x30, 0xffff_fffe);
    expect(peek(config, 0x30)).toBe(BigInt(-size >>> 0));
    poke(config, 0x30, 0xfebc_0001 & -size, 4);
    poke(config, 0x30, 1, 1);
    expect(peek(config, 0x30, 1) & 1n).toBe(1n);
  });

  it.each([0, 16 * MiB + 1])('of %d bytes is refused', (length) => {
    expect(() => serve(new WithRom(new Uint8Array(length)))).toThrow(/1 to 16777216 bytes/);
  });

  it('is absent otherwise: its BAR reads 0 whatever is written', () => {
    const { served, config } = serve(new WithRom(null));
    expect(served.regions[RegionIndex.ROM]).toMatchObject({ size: 0, readable: false });
    poke(config, 0x30, 0xffff_ffff);
    expect(peek(config, 0x30)).toBe(0n);
  });
});
