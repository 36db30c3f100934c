import { describe, expect, it } from 'vitest';
import { encodePacket, GdbDecoder, MAX_GDB_PACKET } from '../../../src/vm/gdb/gdb-packet.ts';

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1');

describe('a packet', () => {
  it('has the checksum of the manual', () => {
    expect(encodePacket('OK')).toBe('$OK#9a');
    expect(encodePacket('')).toBe('$#00');
    expect(encodePacket('mb0000000,4')).toBe('$mb0000000,4#7f');
  });

  it('is read as it was recorded from QEMU 11.1.3, cut anywhere', () => {
    const decoder = new GdbDecoder();
    const tokens = [...bytes('+$OK#9a+$E14#aa')].flatMap((byte) => decoder.push(Uint8Array.of(byte)));
    expect(tokens).toEqual([
      { is: 'ack' },
      { is: 'packet', text: 'OK' },
      { is: 'ack' },
      { is: 'packet', text: 'E14' },
    ]);
  });

  it.each([
    ['an escaped byte', '$}\x03#80', '#'],
    ['a run', '$0* #7a', '0000'],
    ['a checksum in capitals', '$OK#9A', 'OK'],
  ])('may have %s', (_, raw, text) => {
    expect(new GdbDecoder().push(bytes(raw))).toEqual([{ is: 'packet', text }]);
  });

  it.each([
    ['a wrong checksum', '$OK#9b'],
    ['no digits for one', '$OK#zz'],
    ['something between packets', 'x'],
    ['a run of nothing', '$* #4a'],
  ])('is refused with %s', (_, raw) => {
    expect(() => new GdbDecoder().push(bytes(raw))).toThrow(
      expect.objectContaining({ code: 'ERR_VM_PROTOCOL' }),
    );
  });

  it('is refused when it never ends', () => {
    const decoder = new GdbDecoder();
    expect(() => decoder.push(bytes(`$${'a'.repeat(MAX_GDB_PACKET + 1)}`))).toThrow('more than');
  });

  it('tells when the other side has not understood', () => {
    expect(new GdbDecoder().push(bytes('-'))).toEqual([{ is: 'nack' }]);
  });
});
