import { expect, it } from 'vitest';
import { connectionMemory, memoryOf, receivedSize, sentSize } from '../../src/transport/connection-memory.ts';
import { Framer } from '../../src/transport/framer.ts';

const LONGEST = 8192;

it('is what a connection of that length takes, both ways', () => {
  const { received, sent } = connectionMemory(LONGEST);
  expect(memoryOf(receivedSize(LONGEST), received)).toBe(received);
  expect(memoryOf(sentSize(LONGEST), sent)).toBe(sent);
});

it('is made anew where what was prepared has another size, or nothing was', () => {
  const { received } = connectionMemory(LONGEST);
  const longer = memoryOf(receivedSize(LONGEST + 1), received);
  expect(longer).not.toBe(received);
  expect(longer.length).toBe(receivedSize(LONGEST + 1));
  expect(memoryOf(16, undefined).length).toBe(16);
});

it('has room for what another framer has left, however much that is', () => {
  const { received } = connectionMemory(LONGEST);
  const bytes = new Uint8Array(3 * LONGEST).fill(1);
  const framer = new Framer(LONGEST, { bytes, fdSets: [] }, received);
  expect(framer.remains().bytes).toEqual(bytes);
  expect(framer.receiveLength).toBeGreaterThan(0);
});
