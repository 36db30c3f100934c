import { describe, expect, it } from 'vitest';
import { ferryInspect, ferryPrecopyInfo } from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

describe('FERRY_PRECOPY_INFO', () => {
  it("is asked with argsz and flags, and answered with the kernel's structure", () => {
    expect(toHex(ferryPrecopyInfo.request.encode({ argsz: 24, flags: 0 }))).toBe(
      toHex(hex('18000000 00000000')),
    );
    const bytes = '18000000 01000000 0010000000000000 0000000001000000';
    const reply = { argsz: 24, flags: 1, initialBytes: 4096n, dirtyBytes: 1n << 32n };
    expect(ferryPrecopyInfo.reply.decode(hex(bytes))).toEqual(reply);
    expect(toHex(ferryPrecopyInfo.reply.encode(reply))).toBe(toHex(hex(bytes)));
    expect(ferryPrecopyInfo.reply.print(reply)).toBe(
      'argsz=24 flags=REINIT initial_bytes=4096 dirty_bytes=4294967296',
    );
  });

  it('refuses argsz below 24 and flags', () => {
    expect(refused(() => ferryPrecopyInfo.request.decode(hex('17000000 00000000')))).toEqual(
      at('EINVAL', 'argsz', 0),
    );
    expect(refused(() => ferryPrecopyInfo.request.decode(hex('18000000 01000000')))).toEqual(
      at('EINVAL', 'flags', 4),
    );
  });
});

describe('FERRY_INSPECT', () => {
  const encoded = `1c000000 00000000 ${toHex(new TextEncoder().encode('{"state":"RUNNING"}'))}`;

  it('is answered with JSON', () => {
    const reply = { argsz: 28, flags: 0, report: { state: 'RUNNING' } };
    expect(ferryInspect.reply.decode(hex(encoded))).toEqual(reply);
    expect(toHex(ferryInspect.reply.encode(reply))).toBe(toHex(hex(encoded)));
  });

  it('is answered without it when argsz is too small', () => {
    expect(ferryInspect.reply.decode(hex('1c000000 00000000'))).toEqual({
      argsz: 28,
      flags: 0,
      report: null,
    });
    expect(ferryInspect.reply.encode({ argsz: 28, flags: 0, report: null })).toHaveLength(8);
  });

  it.each([
    ['no JSON', '7b'],
    ['no UTF-8', '22ff22'],
    ['JSON that nests without end', '5b'.repeat(100) + '5d'.repeat(100)],
  ])('refuses %s', (_, report) => {
    expect(refused(() => ferryInspect.reply.decode(hex(`1c000000 00000000 ${report}`)))).toEqual(
      at('EINVAL', 'report', 8),
    );
  });

  it('refuses argsz below 8 and flags', () => {
    expect(refused(() => ferryInspect.request.decode(hex('07000000 00000000')))).toEqual(
      at('EINVAL', 'argsz', 0),
    );
    expect(refused(() => ferryInspect.request.decode(hex('08000000 01000000')))).toEqual(
      at('EINVAL', 'flags', 4),
    );
  });
});
