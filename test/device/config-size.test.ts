import { describe, expect, it } from 'vitest';
import { draw } from '../../src/device/blueprint.ts';
import { type DeviceOptions, vendorSpecificExtended } from '../../src/device/index.ts';

const IDENTITY = { kind: 'test', vendor: 1, device: 2, classCode: 0 };
const drawn = (options: DeviceOptions) =>
  draw({ identity: IDENTITY, bars: {}, interrupts: {}, options }).config;
const PCI_X = {
  name: 'PCI_X',
  id: 7,
  size: 8,
  registers: [
    { name: 'COMMAND', offset: 2, size: 2, writable: 0x7f },
    { name: 'STATUS', offset: 4, size: 4, reset: 0x4000_fff8 },
  ],
} as const;

describe('the size of the configuration space', () => {
  it.each<[string, DeviceOptions, number]>([
    ['conventional PCI', {}, 256],
    ['PCI-X mode 1', { configSize: 256, capabilities: [PCI_X] }, 256],
    ['PCI-X mode 2', { configSize: 4096, capabilities: [PCI_X] }, 4096],
    ['PCI Express', { express: true }, 4096],
    ['PCI Express that says so', { express: true, configSize: 4096 }, 4096],
  ])('of %s', (_, options, size) => {
    expect(drawn(options).size).toBe(size);
  });

  it('has room for extended capabilities without PCI Express, and for the one of PCI-X', () => {
    const extendedCapabilities = [
      vendorSpecificExtended({ name: 'V', id: 1, bytes: Uint8Array.of(1, 2, 3, 4) }),
    ];
    const { registers } = drawn({ configSize: 4096, capabilities: [PCI_X], extendedCapabilities });
    expect(registers.find(({ name }) => name === 'V.HEADER')?.offset).toBe(0x100);
    expect(registers.find(({ name }) => name === 'PCI_X.STATUS')?.reset).toBe(0x4000_fff8);
  });

  it('is refused where PCI has no such', () => {
    const wrong = expect.objectContaining({ code: 'ERR_DEVICE_DECLARATION' });
    expect(() => drawn({ express: true, configSize: 256 })).toThrow(wrong);
    expect(() => drawn(JSON.parse('{"configSize": 512}'))).toThrow(wrong);
  });
});
