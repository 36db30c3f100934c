import { describe, expect, it } from 'vitest';
import { deviceGetIrqInfo, deviceSetIrqs } from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

describe('DEVICE_GET_IRQ_INFO', () => {
  it('is argsz, flags, index, count both ways', () => {
    const bytes = '10000000 07000000 02000000 00080000';
    const value = { argsz: 16, flags: 7, index: 2, count: 2048 };
    for (const part of [deviceGetIrqInfo.request, deviceGetIrqInfo.reply]) {
      expect(part.decode(hex(bytes))).toEqual(value);
      expect(toHex(part.encode(value))).toBe(toHex(hex(bytes)));
    }
    expect(deviceGetIrqInfo.reply.print(value)).toBe(
      'argsz=16 flags=EVENTFD|MASKABLE|AUTOMASKED index=2 count=2048',
    );
  });

  it('refuses argsz below 16 in a request', () => {
    const bytes = hex('08000000 00000000 02000000 00000000');
    expect(refused(() => deviceGetIrqInfo.request.decode(bytes))).toEqual(at('EINVAL', 'argsz', 0));
  });
});

describe('DEVICE_SET_IRQS', () => {
  const { request, reply } = deviceSetIrqs;
  const set = { argsz: 20, flags: 0x24, index: 2, start: 1, count: 2, data: hex('') };

  it.each([
    ['sets up eventfds', '14000000 24000000 02000000 01000000 02000000', set, 2],
    ['takes eventfds back, or enables without any', '14000000 24000000 02000000 01000000 02000000', set, 0],
    [
      'disables a type',
      '14000000 21000000 00000000 00000000 00000000',
      { ...set, flags: 0x21, index: 0, start: 0, count: 0 },
      0,
    ],
    [
      'unmasks',
      '14000000 11000000 00000000 00000000 01000000',
      { ...set, flags: 0x11, index: 0, start: 0, count: 1 },
      0,
    ],
    [
      'triggers some',
      '16000000 22000000 02000000 01000000 02000000 0100',
      { ...set, argsz: 22, flags: 0x22, data: hex('0100') },
      0,
    ],
  ])('%s', (_, bytes, value, fds) => {
    expect(request.decode(hex(bytes), fds)).toEqual(value);
    expect(toHex(request.encode(value, fds))).toBe(toHex(hex(bytes)));
  });

  it('takes an argsz that leaves out the data', () => {
    expect(request.decode(hex('14000000 22000000 02000000 01000000 01000000 01')).data).toEqual(hex('01'));
  });

  it.each([
    ['argsz below 20', { argsz: 19 }, 'argsz', 0],
    ['an unknown flag', { flags: 0x64 }, 'flags', 4],
    ['no data type', { flags: 0x20 }, 'flags', 4],
    ['two data types', { flags: 0x23, data: hex('0101') }, 'flags', 4],
    ['three data types', { flags: 0x27, data: hex('0101') }, 'flags', 4],
    ['no action', { flags: 0x04 }, 'flags', 4],
    ['two actions', { flags: 0x19 }, 'flags', 4],
    ['a range past 2^32', { start: 0xffff_fff0, count: 0x20 }, 'count', 16],
    ['count 2^32 - 1', { start: 0, count: 0xffff_ffff }, 'count', 16],
    ['count 0 with a start', { flags: 0x21, start: 1, count: 0 }, 'count', 16],
    ['count 0 to mask', { flags: 0x09, start: 0, count: 0 }, 'count', 16],
    ['count 0 with eventfds', { flags: 0x24, start: 0, count: 0 }, 'count', 16],
    ['count 0 with booleans', { flags: 0x22, start: 0, count: 0 }, 'count', 16],
    ['fewer booleans than count', { flags: 0x22, data: hex('01') }, 'data', 0],
    ['more booleans than count', { flags: 0x22, data: hex('010101') }, 'data', 0],
    ['data without booleans', { data: hex('0101') }, 'data', 0],
  ])('refuses %s', (_, wrong, field, byte) => {
    expect(refused(() => request.check({ ...set, ...wrong }))).toEqual(at('EINVAL', field, byte));
  });

  it.each([
    ['fewer eventfds than count', { ...set }, 1],
    ['more eventfds than count', { ...set }, 3],
    ['eventfds without DATA_EVENTFD', { ...set, flags: 0x21 }, 2],
    ['eventfds with booleans', { ...set, flags: 0x22, data: hex('0101') }, 2],
  ])('refuses %s', (_, value, fds) => {
    expect(refused(() => request.check(value, fds))).toMatchObject({
      errno: 'EINVAL',
      field: `file descriptors (${fds})`,
    });
  });

  it('has an empty reply', () => {
    expect(reply.encode({})).toHaveLength(0);
  });
});
