import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readGreeting } from '../../src/channel/greeting.ts';
import { FakeLink } from './fake-link.ts';

describe('a side that hangs up before it has greeted', () => {
  const cases = [
    { kind: 'WELCOME', from: 'receiver', bytes: 0, told: 'if it wants TLS, name certificates' },
    { kind: 'WELCOME', from: 'receiver', bytes: 5, told: 'in the middle of a frame' },
    { kind: 'HELLO', from: 'sender', bytes: 0, told: 'was cut' },
  ] as const;

  it.each(cases)('waiting for $kind, after $bytes bytes: $told', async ({ kind, from, bytes, told }) => {
    const link = new FakeLink();
    const greeting = readGreeting(link, { kind, from, crc32, timeoutMs: 60_000 });
    link.arrive(Uint8Array.from([0x89, 0x46, 0x43, 0x48, 2]).subarray(0, bytes));
    link.hangUp();
    await expect(greeting).rejects.toMatchObject({ code: 'ERR_CHANNEL_CUT' });
    await expect(greeting).rejects.toThrow(told);
  });
});
