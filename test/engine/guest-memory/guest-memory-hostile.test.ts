import { describe, expect, it } from 'vitest';
import { type Message, memoryPair } from '../../../src/channel/index.ts';
import { MappedMemoryTarget, runReceiver } from '../../../src/engine/index.ts';
import type { Json } from '../../../src/protocol/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import { newWorld } from '../moves.ts';

const PAGE = 4096;
const SIZE = 2 * PAGE;
const MAX = 2n ** 64n - 1n;

const device: Json = {
  name: 'a',
  flags: 7,
  state: MigrationState.RUNNING,
  identity: null,
  busy: null,
  backEnds: [],
  instance: '0'.repeat(16),
  configuration: null,
  claims: false,
};
const manifest: Json = { devices: [device], memory: [SIZE, SIZE], paused: false, force: false };

/** What a receiver with two regions makes of a sender that says this when all is open; and its memory. */
async function receiving(last: Message, body?: Uint8Array) {
  const world = newWorld();
  const { sender, receiver } = memoryPair({ group: 'ab'.repeat(16), epoch: 1n });
  const regions = [0n, BigInt(SIZE)].map((iova) => ({ iova, bytes: new Uint8Array(SIZE).fill(7) }));
  const said: (() => void)[] = [
    () => void sender.send({ kind: 'OPEN' }),
    () => {
      sender.send(last, body);
      sender.send({ kind: 'SYNC', id: 1 });
    },
    () => void sender.close(),
  ];
  sender.receive(() => queueMicrotask(() => said.shift()?.()));
  const ending = runReceiver({
    devices: [world.destination],
    channel: receiver,
    clock: world.clock,
    memory: new MappedMemoryTarget(regions),
  }).catch((error: unknown) => error);
  sender.send({ kind: 'MANIFEST', manifest });
  return { ended: await ending, bytes: Buffer.concat(regions.map((region) => region.bytes)) };
}

describe('a receiver with guest memory', () => {
  it.each<[string, Message, number]>([
    ['a region that is not there', { kind: 'MEMORY', region: 2, offset: 0n }, 8],
    ['an offset behind the end', { kind: 'MEMORY', region: 0, offset: BigInt(SIZE) }, 8],
    [
      'pages over the end, where the next region may lie',
      { kind: 'MEMORY', region: 0, offset: BigInt(SIZE - 4) },
      8,
    ],
    ['an offset that wraps around', { kind: 'MEMORY', region: 1, offset: MAX - 3n }, 8],
    ['zeros of a region that is not there', { kind: 'ZERO', region: 9, offset: 0n, length: 1n }, 0],
    ['zeros over the end', { kind: 'ZERO', region: 0, offset: 1n, length: BigInt(SIZE) }, 0],
    ['zeros without end', { kind: 'ZERO', region: 0, offset: 0n, length: MAX }, 0],
    ['zeros that wrap around', { kind: 'ZERO', region: 1, offset: MAX, length: 2n }, 0],
  ])('refuses %s, and has written nothing', async (_, message, length) => {
    const { ended, bytes } = await receiving(message, length > 0 ? new Uint8Array(length) : undefined);
    expect(String(ended)).toMatch(/guest memory that is not there/);
    expect(bytes.every((byte) => byte === 7)).toBe(true);
  });

  it('takes the last byte', async () => {
    const { ended, bytes } = await receiving(
      { kind: 'MEMORY', region: 1, offset: BigInt(SIZE - 1) },
      Uint8Array.of(9),
    );
    expect(String(ended)).not.toMatch(/guest memory/);
    expect([bytes.indexOf(9), bytes.length]).toEqual([2 * SIZE - 1, 2 * SIZE]);
  });
});
