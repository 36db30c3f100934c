import { describe, expect, it } from 'vitest';
import { ferryReconnection } from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

describe('FERRY_RECONNECTION', () => {
  it('carries what is chosen', () => {
    const value = { argsz: 24, flags: 0, operation: 1, reserved: 0 };
    const bytes = hex('18000000 00000000 01000000 00000000');
    expect(toHex(ferryReconnection.request.encode(value))).toBe(toHex(bytes));
    expect(ferryReconnection.request.decode(bytes)).toEqual(value);
  });

  it('is answered with what is kept, and its configuration space', () => {
    const configuration = Uint8Array.from({ length: 256 }, (_, i) => i);
    const reply = {
      ...{ argsz: 280, flags: 7, deviceState: 1, withheldResets: 2, since: 1n << 40n },
      configuration,
    };
    const bytes = ferryReconnection.reply.encode(reply);
    expect(bytes).toHaveLength(280);
    expect(ferryReconnection.reply.decode(bytes)).toEqual(reply);
    expect(ferryReconnection.reply.print(reply)).toContain('flags=KEEP|KEPT|RETURNED device_state=1');
  });

  it.each([
    ['argsz below that of the reply', '17', '00', '01', 'argsz', 0],
    ['an operation that does not exist', '18', '00', '04', 'operation', 8],
  ])('refuses %s', (_, argsz, flags, operation, field, byte) => {
    const bytes = `${argsz}000000 ${flags}000000 ${operation}000000 00000000`;
    expect(refused(() => ferryReconnection.request.decode(hex(bytes)))).toEqual(at('EINVAL', field, byte));
  });
});
