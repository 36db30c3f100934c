import { describe, expect, it } from 'vitest';
import { msixTableOf, plainByteOf } from '../../src/vm/registers.ts';
import { configSpace } from './pci-bytes.ts';

describe('the MSI-X table of a device', () => {
  it('is behind a BAR, at an offset', () => {
    const config = configSpace({
      command: 2,
      bars: { 2: 0xfe01_0000 },
      msix: { control: 0x8003, table: 0x802, pba: 0xc02 },
    });
    expect(msixTableOf(config)).toEqual({ address: 0xfe01_0800n, length: 64, enabled: true });
  });

  it('may be above 4 GiB', () => {
    const config = configSpace({
      command: 2,
      bars: { 0: 0xfe01_0004, 1: 0x38 },
      msix: { control: 1, table: 0, pba: 0x800 },
    });
    expect(msixTableOf(config)).toMatchObject({ address: 0x38_fe01_0000n, enabled: false });
  });

  it.each([
    [
      'the memory BARs are off',
      configSpace({ command: 1, bars: { 2: 0xfe01_0000 }, msix: { control: 1, table: 2, pba: 2 } }),
    ],
    ['its BAR has no address', configSpace({ command: 2, msix: { control: 1, table: 2, pba: 2 } })],
  ])('can not be reached when %s', (_, config) => {
    expect(msixTableOf(config)).toMatchObject({ address: null });
  });

  it('is none without the capability', () => {
    expect(msixTableOf(configSpace())).toBeNull();
  });
});

describe('a byte that can be read for the guest', () => {
  const msix = { control: 1, table: 0x0, pba: 0x2000 };
  it.each([
    [
      'is in a memory BAR',
      { command: 3, bars: { 0: 0xc001, 1: 0xfe00_0000 } },
      { region: 1, space: 'memory', address: 0xfe00_0000n },
    ],
    [
      'is an I/O port when there is no memory',
      { command: 3, bars: { 2: 0xc001 } },
      { region: 2, space: 'io', address: 0xc000n },
    ],
    [
      'is an I/O port when memory is off',
      { command: 1, bars: { 0: 0xfe00_0000, 2: 0xc001 } },
      { region: 2, space: 'io', address: 0xc000n },
    ],
    [
      'is not of an MSI-X table',
      { command: 2, bars: { 0: 0xfe00_0000, 2: 0xfe01_0000 }, msix },
      { region: 2, space: 'memory', address: 0xfe01_0000n },
    ],
    ['is nowhere when all is off', { command: 0, bars: { 0: 0xfe00_0000 } }, null],
    ['is nowhere without BARs', { command: 3 }, null],
  ])('%s', (_, wish, found) => {
    expect(plainByteOf(configSpace(wish))).toEqual(found);
  });
});
