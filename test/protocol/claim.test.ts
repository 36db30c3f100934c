import { describe, expect, it } from 'vitest';
import { claimId, claimName, ferryClaim, fromHalves, toHalves } from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

const token = Uint8Array.from({ length: 16 }, (_, i) => i + 1);

describe('FERRY_CLAIM', () => {
  const request = '38000000 00000000 01000000 00000000 0200000000000000 0102030405060708 090a0b0c0d0e0f10';

  it('carries the operation, the epoch and the token as it is', () => {
    const { low, high } = toHalves(token);
    const value = {
      argsz: 56,
      flags: 0,
      operation: 1,
      reserved: 0,
      epoch: 2n,
      tokenLow: low,
      tokenHigh: high,
    };
    expect(toHex(ferryClaim.request.encode(value))).toBe(toHex(hex(request)));
    expect(ferryClaim.request.decode(hex(request))).toEqual(value);
  });

  it('is answered with whose the device is', () => {
    const reply = {
      ...{ argsz: 56, flags: 5, deviceState: 3, reserved: 0, epoch: 2n },
      ...{ id: 0xabcn, since: 1n << 40n, instance: 7n, resets: 1n },
    };
    const bytes = ferryClaim.reply.encode(reply);
    expect(bytes).toHaveLength(56);
    expect(ferryClaim.reply.decode(bytes)).toEqual(reply);
    expect(ferryClaim.reply.print(reply)).toContain('flags=CLAIMED|RETIRED device_state=3');
  });

  it.each([
    ['argsz below that of the reply', '37', '00', '01', 'argsz', 0],
    ['unknown flags', '38', '02', '01', 'flags', 4],
    ['force for anything but a release', '38', '01', '01', 'flags', 4],
    ['an operation that does not exist', '38', '00', '04', 'operation', 8],
  ])('refuses %s', (_, argsz, flags, operation, field, byte) => {
    const bytes = `${argsz}000000 ${flags}000000 ${operation}000000 00000000 ${'00'.repeat(24)}`;
    expect(refused(() => ferryClaim.request.decode(hex(bytes)))).toEqual(at('EINVAL', field, byte));
  });

  it('takes a release by force', () => {
    const bytes = `38000000 01000000 03000000 00000000 ${'00'.repeat(24)}`;
    expect(ferryClaim.request.decode(hex(bytes))).toMatchObject({ flags: 1, operation: 3 });
  });
});

describe('a token', () => {
  it('survives being cut into halves', () => {
    const { low, high } = toHalves(token);
    expect(fromHalves(low, high)).toEqual(token);
  });

  it('has 16 bytes', () => {
    for (const length of [0, 15, 17]) expect(() => toHalves(new Uint8Array(length))).toThrow('16 bytes');
  });

  it('names its claim by a number that differs from claim to claim and does not show it', () => {
    expect(claimName(claimId(token))).toMatch(/^[0-9a-f]{16}$/);
    expect(claimId(token)).toBe(claimId(Uint8Array.from(token)));
    expect(claimId(token)).not.toBe(claimId(token.map((byte) => byte ^ 1)));
    const { low, high } = toHalves(token);
    expect([low, high]).not.toContain(claimId(token));
  });

  it('has a name of 16 digits also when its number is small', () => {
    expect(claimName(0x1fn)).toBe('000000000000001f');
  });
});
