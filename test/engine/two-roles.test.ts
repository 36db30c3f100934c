import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { type Channel, connectChannel, listenForChannels } from '../../src/channel/index.ts';
import { DeviceClient } from '../../src/client/index.ts';
import { MemoryDevice, MemoryRegister } from '../../src/devices/index.ts';
import {
  clientEnd,
  type MigrationEnd,
  MigrationError,
  runReceiver,
  runSender,
} from '../../src/engine/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { serveForTest } from '../helpers/served.ts';
import { FakeClock } from './fake-clock.ts';
import { World } from './fake-world.ts';

const GROUP = '0123456789abcdef'.repeat(2);
const EPOCH = 1n;
const MIB = 1024 * 1024;
const cleanups: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'ferry-roles-'));
  cleanups.push(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A sender's channel and a receiver's, over a socket; `through`: where the sender connects instead. */
async function joined(
  path: string,
  through = path,
  tuning: { silenceMs?: number; closeMs?: number; handshakeMs?: number } = {},
): Promise<readonly [Channel, Channel]> {
  let arrived: (channel: Channel) => void = () => {};
  const accepted = new Promise<Channel>((resolve) => {
    arrived = resolve;
  });
  const about = { group: GROUP, epoch: EPOCH, ...tuning };
  const listener = await listenForChannels(`unix:${path}`, {
    ...about,
    role: 'receiver',
    accepted: (it) => arrived(it),
  });
  try {
    const sender = await connectChannel(`unix:${through}`, { ...about, role: 'sender' });
    return [sender, await accepted];
  } finally {
    await listener.close();
  }
}

async function move(
  from: readonly MigrationEnd[],
  to: readonly MigrationEnd[],
  channels: readonly [Channel, Channel],
) {
  const [sender, receiver] = channels;
  return Promise.allSettled([
    runSender({ devices: from, channel: sender, reconnectMs: 1 }),
    runReceiver({ devices: to, channel: receiver, reconnectMs: 1 }),
  ]);
}

async function serve(size: number) {
  const device = new MemoryDevice({ size });
  const served = serveForTest(device);
  cleanups.push(() => served.close());
  const client = await DeviceClient.connect(served.controlPath);
  cleanups.push(() => client.close());
  return { device, served, client, end: clientEnd(client) };
}

describe('two roles that are joined by a socket', () => {
  it('move a group of served devices: states, registers and memory', { timeout: 60_000 }, async () => {
    const size = 2 * MIB;
    const content = Uint8Array.from({ length: size }, (_, i) => (i * 31 + (i >> 12)) & 0xff);
    const from = [await serve(size), await serve(size)];
    const to = [await serve(size), await serve(size)];
    for (const { device } of from) device.load(content);
    const vmm = await DeviceClient.connect(from[1]?.served.socketPath ?? '');
    await vmm.writeU32(0, MemoryRegister.SCRATCH, 0xfee1dead);
    vmm.close();

    const channels = await joined(join(folder(), 'channel'));
    const [sent, received] = await move(
      from.map(({ end }) => end),
      to.map(({ end }) => end),
      channels,
    );

    expect(sent).toMatchObject({ status: 'fulfilled', value: { owner: 'destination' } });
    expect(received).toMatchObject({ status: 'fulfilled', value: { received: true, group: GROUP } });
    const scratch: number[] = [];
    for (const { client, served } of to) {
      expect(await client.migrationState()).toBe(MigrationState.RUNNING);
      const after = await DeviceClient.connect(served.socketPath);
      cleanups.push(() => after.close());
      expect(Buffer.compare(await after.read(2, 0, size), content)).toBe(0);
      scratch.push(await after.readU32(0, MemoryRegister.SCRATCH));
    }
    expect(scratch).toEqual([0, 0xfee1dead]);
    for (const { client } of from)
      expect(await client.claimStatus()).toMatchObject({ retired: true, state: 1 });
  });

  it('take a device that its source has retired no further', { timeout: 60_000 }, async () => {
    const [from, to] = [await serve(MIB), await serve(MIB)];
    await move([from.end], [to.end], await joined(join(folder(), 'channel')));
    const late = await DeviceClient.connect(from.served.controlPath);
    cleanups.push(() => late.close());
    await expect(late.setMigrationState(MigrationState.RUNNING)).rejects.toThrow();
    expect(await from.client.migrationState()).toBe(MigrationState.STOP);
  });

  it('that differ in their devices part before anything has changed', { timeout: 60_000 }, async () => {
    const [from, to] = [await serve(MIB), await serve(2 * MIB)];
    const [sent, received] = await move([from.end], [to.end], await joined(join(folder(), 'channel')));
    for (const each of [sent, received]) {
      expect(each).toMatchObject({
        status: 'rejected',
        reason: { code: 'ERR_MIGRATION_REFUSED', owner: 'source' },
      });
    }
    expect(await from.client.migrationState()).toBe(MigrationState.RUNNING);
    expect(await to.client.claimStatus()).toMatchObject({ claimed: false });
  });
});

/** Passes everything on, except that one byte in one direction is not what it was. */
async function corrupting(
  path: string,
  target: string,
  direction: 'there' | 'back',
  at: number,
): Promise<void> {
  const server = createServer((near) => {
    const far = connect(target);
    forward(near, far, direction === 'there' ? at : -1);
    forward(far, near, direction === 'back' ? at : -1);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  cleanups.push(() => void server.close());
}

function forward(from: Socket, to: Socket, at: number): void {
  let passed = 0;
  from.on('data', (chunk: Buffer) => {
    const index = at - passed;
    if (index >= 0 && index < chunk.length) chunk[index] = (chunk[index] ?? 0) ^ 0x10;
    passed += chunk.length;
    to.write(chunk);
  });
  from.on('error', () => to.destroy());
  from.on('close', () => to.destroy());
}

describe('a byte that is changed on the way', () => {
  // The greeting and every frame of a small migration; each so-many-th byte is enough for every change.
  const STRIDE = process.env['FERRY_CHAOS'] === 'long' ? 1 : 41;
  const LENGTH = 2400;
  const tuning = { silenceMs: 300, closeMs: 300, handshakeMs: 300 };

  it.each(['there', 'back'] as const)(
    '%s: is noticed before anything runs at the destination, or changes nothing',
    { timeout: 600_000 },
    async (direction) => {
      const place = folder();
      let noticed = 0;
      for (let at = 0; at < LENGTH; at += STRIDE) {
        const world = new World(new FakeClock());
        const [target, path] = [join(place, `${at}.a`), join(place, `${at}.b`)];
        await corrupting(path, target, direction, at);
        const channels = await joined(target, path, tuning).catch(() => null);
        if (channels === null) {
          noticed += 1;
          continue;
        }
        const [sent] = await move([world.source], [world.destination], channels);
        expect(world.violation).toBeNull();
        if (sent.status === 'fulfilled') {
          expect(world.destination.runsGuest, `byte ${at}`).toBe(true);
          continue;
        }
        noticed += 1;
        expect(sent.reason).toBeInstanceOf(MigrationError);
        // What comes back may be changed when the source has decided already: then the destination has its whole state.
        const { owner } = sent.reason;
        if (owner === 'source') expect(world.destination.runsGuest, `byte ${at}`).toBe(false);
        if (direction === 'there' && world.destination.runsGuest)
          expect(owner, `byte ${at}`).toBe('destination');
      }
      expect(noticed).toBeGreaterThan(LENGTH / STRIDE / 4);
    },
  );
});
