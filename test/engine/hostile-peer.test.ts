import { describe, expect, it } from 'vitest';
import { type MemoryPair, type Message, memoryPair } from '../../src/channel/index.ts';
import { MigrationError, migrate, runReceiver, runSender } from '../../src/engine/index.ts';
import type { Json } from '../../src/protocol/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import type { World } from './fake-world.ts';
import { newWorld } from './moves.ts';

const { RUNNING } = MigrationState;
const GROUP = 'ab'.repeat(16);
const EPOCH = 1n;
const decision = { group: GROUP, epoch: EPOCH };

const device: Json = {
  name: 'a',
  flags: 7,
  state: RUNNING,
  identity: { vendor: 1 },
  busy: null,
  backEnds: [],
  instance: '0'.repeat(16),
  configuration: null,
  claims: false,
};
const manifest: Json = { devices: [device], memory: [], paused: false, force: false };

/** What a receiver makes of a sender that says this; each message is said after its answer has come. */
async function receiving(world: World, messages: readonly Said[]) {
  const pair = memoryPair(decision);
  const heard = talk(pair, 'sender', messages);
  const ended = await runReceiver({
    devices: [world.destination],
    channel: pair.receiver,
    clock: world.clock,
  }).catch((error: unknown) => error);
  return { ended, heard };
}

function talk(pair: MemoryPair, role: 'sender' | 'receiver', messages: readonly Said[]): string[] {
  const heard: string[] = [];
  const rest = [...messages];
  const say = (): void => {
    const next = rest.shift();
    if (next === undefined) return void pair[role].close();
    pair[role].send(next, next.body);
    if (!ANSWERED.has(next.kind)) say();
  };
  pair[role].receive(({ kind }) => {
    heard.push(kind);
    queueMicrotask(say);
  });
  if (role === 'sender') say();
  return heard;
}

/** A message, and its body where it has one. */
type Said = Message & { readonly body?: Uint8Array };

const ANSWERED = new Set<string>(['MANIFEST', 'OPEN', 'SYNC', 'INITIAL', 'COMPLETE', 'COMMIT', 'ABORT']);

const MANIFEST: Message = { kind: 'MANIFEST', manifest };
const OPEN: Message = { kind: 'OPEN' };
const DATA = { kind: 'DATA', device: 0, body: new Uint8Array(8).fill(1) } as const;

describe('a receiver with a sender that breaks the rules', () => {
  const cases: { name: string; messages: Said[]; message: RegExp }[] = [
    {
      name: 'a manifest that is none',
      messages: [{ kind: 'MANIFEST', manifest: 7 }],
      message: /a manifest that is none/,
    },
    {
      name: 'a manifest with a device too strange',
      messages: [
        { kind: 'MANIFEST', manifest: { devices: [{ name: 'a' }], memory: [], paused: false, force: false } },
      ],
      message: /a manifest that is none/,
    },
    {
      name: 'COMMIT first',
      messages: [{ kind: 'COMMIT', ...decision }],
      message: /said COMMIT when it had nothing to say/,
    },
    {
      name: 'data before anything is open',
      messages: [MANIFEST, DATA],
      message: /sent DATA when nothing is loaded/,
    },
    {
      name: 'data of a device that is not there',
      messages: [MANIFEST, OPEN, { ...DATA, device: 3 }, { kind: 'SYNC', id: 1 }],
      message: /data of a device 3 that is not in the group/,
    },
    {
      name: 'configuration that nobody takes',
      messages: [
        MANIFEST,
        OPEN,
        { kind: 'CONFIG', device: 0, withheld: 0, body: new Uint8Array(4) },
        { kind: 'SYNC', id: 1 },
      ],
      message: /configuration space that device 0 does not take/,
    },
    {
      name: 'guest memory where there is none',
      messages: [
        MANIFEST,
        OPEN,
        { kind: 'MEMORY', region: 0, offset: 0n, body: new Uint8Array(4) },
        { kind: 'SYNC', id: 1 },
      ],
      message: /guest memory that is not there/,
    },
    {
      name: 'totals that are not what came',
      messages: [
        MANIFEST,
        OPEN,
        DATA,
        { kind: 'COMPLETE', ...decision, totals: [{ device: 0, bytes: 9n, checksum: 0 }] },
      ],
      message: /what has arrived is not what the source has sent/,
    },
    {
      name: 'a COMPLETE of another migration',
      messages: [MANIFEST, OPEN, { kind: 'COMPLETE', ...decision, group: 'cd'.repeat(16), totals: [] }],
      message: /speaks of another migration/,
    },
  ];
  it.each(cases)('$name: ends clearly, and nothing runs there', async ({ messages, message }) => {
    const world = newWorld();
    const { ended } = await receiving(world, messages);
    expect(ended).toBeInstanceOf(MigrationError);
    expect(String(ended)).toMatch(message);
    expect(ended).toMatchObject({ owner: 'source' });
    expect(world.destination).toMatchObject({ deviceState: RUNNING, content: null });
  });
});

describe('a sender with a receiver that breaks the rules', () => {
  /** What a sender makes of a receiver that answers so. */
  const sending = async (world: World, answers: readonly Message[]): Promise<unknown> => {
    const pair = memoryPair(decision);
    const rest = [...answers];
    pair.receiver.receive((message) => {
      if (!ANSWERED.has(message.kind)) return;
      const next = rest.shift();
      queueMicrotask(() => void (next === undefined ? pair.receiver.close() : pair.receiver.send(next)));
    });
    return runSender({ devices: [world.source], channel: pair.sender, clock: world.clock }).catch(
      (error: unknown) => error,
    );
  };
  const fits: Message = { kind: 'VERDICT', verdict: { reasons: [], notes: [], flags: [7] } };
  const cases: { name: string; answers: Message[]; message: RegExp }[] = [
    { name: 'no verdict', answers: [{ kind: 'VERDICT', verdict: [] }], message: /a verdict that is none/ },
    {
      name: 'a verdict on fewer devices',
      answers: [{ kind: 'VERDICT', verdict: { reasons: [], notes: [], flags: [] } }],
      message: /a verdict that is none/,
    },
    {
      name: 'READY before it has everything',
      answers: [{ kind: 'READY', ...decision }],
      message: /said READY when/,
    },
    {
      name: 'leaving after OPENED',
      answers: [fits, { kind: 'OPENED' }],
      message: /has ended the conversation/,
    },
    {
      name: 'another SYNC answered',
      answers: [fits, { kind: 'OPENED' }, { kind: 'SYNCED', id: 99, bytes: 0n }],
      message: /answered another SYNC/,
    },
  ];
  it.each(cases)('$name: the source runs on', async ({ answers, message }) => {
    const world = newWorld();
    const error = await sending(world, answers);
    expect(error).toBeInstanceOf(MigrationError);
    expect(String(error)).toMatch(message);
    expect(error).toMatchObject({ owner: 'source' });
    expect(world.source).toMatchObject({ runsGuest: true, retired: false });
  });
});

describe('two migrations of one device at once', () => {
  it('the second is refused by the claim of the first, which goes on', async () => {
    const world = newWorld();
    const other = newWorld();
    let second: unknown = null;
    const first = migrate(world.source, world.destination, {
      clock: world.clock,
      hooks: {
        beforeStop: async () => {
          second = await migrate(world.source, other.destination, { clock: world.clock }).catch(
            (error: unknown) => error,
          );
        },
      },
    });
    await expect(first).resolves.toMatchObject({ owner: 'destination' });
    expect(second).toBeInstanceOf(MigrationError);
    expect(String(second)).toMatch(/starts from RUNNING|could not be claimed/);
    expect(world.violation).toBeNull();
    expect(world.destination.runsGuest).toBe(true);
  });
});
