import { afterEach, describe, expect, it } from 'vitest';
import { type DeviceOptions, KiB, PciDevice } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { RegionIndex } from '../../src/protocol/index.ts';
import { FakeHost, peek, poke } from '../helpers/fake-host.ts';

let host = new FakeHost();
afterEach(() => {
  host.close();
  host = new FakeHost();
});

/** A display that remembers where it was accessed. */
class Display extends PciDevice {
  override readonly identity;
  override readonly bars = {};
  override readonly interrupts = {};
  readonly accesses: string[] = [];
  override readonly options: DeviceOptions = {
    powerManagement: true,
    vga: {
      read: (offset, target, at, length) => {
        this.accesses.push(`read ${offset.toString(16)} ${length}`);
        target.fill(0x5a, at, at + length);
      },
      write: (offset, source, at, length) => {
        this.accesses.push(`write ${offset.toString(16)} ${source.subarray(at, at + length).join()}`);
      },
    },
  };

  constructor(classCode = 0x030000) {
    super();
    this.identity = { kind: 'display', vendor: 0x1234, device: 0x1111, classCode };
  }
}

function bound() {
  const device = new Display();
  const served = device.bind(host);
  return { device, served, vga: served.regions[RegionIndex.VGA] };
}

describe('the VGA region', () => {
  it('ends where the legacy memory ends, is read and written, and can not be mapped', () => {
    const { served, vga } = bound();
    expect(vga).toMatchObject({ index: 8, size: 768 * KiB, readable: true, writable: true, shared: null });
    served.close();
  });

  it('passes accesses to the legacy ranges on, by their addresses', () => {
    const { device, served, vga } = bound();
    expect(peek(vga, 0x3c0, 1)).toBe(0x5an);
    poke(vga, 0x3b4, 0x0102, 2);
    poke(vga, 0xb8000, 7, 1);
    expect(peek(vga, 0xbfffe, 2)).toBe(0x5a5an);
    expect(device.accesses).toEqual(['read 3c0 1', 'write 3b4 2,1', 'write b8000 7', 'read bfffe 2']);
    served.close();
  });

  it.each([
    [0x3af, 1],
    [0x3bb, 2],
    [0x3bc, 4],
    [0x3e0, 1],
    [0x9ffff, 1],
    [0x9fffe, 4],
    [0x0, 1],
  ])('refuses what is not in one of them (%i, %i bytes)', (offset, length) => {
    const { device, served, vga } = bound();
    expect(() => peek(vga, offset, length)).toThrow(expect.objectContaining({ errno: Errno.EINVAL }));
    expect(() => poke(vga, offset, 0, length)).toThrow(expect.objectContaining({ errno: Errno.EINVAL }));
    expect(device.accesses).toEqual([]);
    served.close();
  });

  it('is not answered in D3hot', () => {
    const { device, served, vga } = bound();
    poke(served.regions[RegionIndex.CONFIG], 0x44, 3, 2);
    expect(peek(vga, 0x3c0, 1)).toBe(0xffn);
    poke(vga, 0x3c0, 0, 1);
    expect(device.accesses).toEqual([]);
    served.close();
  });

  it('is only for what decodes these ranges by its class', () => {
    expect(() => new Display(0x038000).bind(host)).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_DECLARATION', message: expect.stringMatching(/0x030000/) }),
    );
  });
});
