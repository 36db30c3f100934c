import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { type Channel, connectChannel, listenForChannels } from '../../../src/channel/index.ts';
import { GuestMemory } from '../../../src/client/index.ts';
import {
  MappedMemorySource,
  MappedMemoryTarget,
  MigrationControl,
  runReceiver,
  runSender,
  vmmTracker,
} from '../../../src/engine/index.ts';
import { loadNative } from '../../../src/native/index.ts';
import { until } from '../../helpers/until.ts';
import { newWorld } from '../moves.ts';

const PAGE = 4096;
const SIZE = 16 * 1024 * 1024;
const IOVA = 0x4000_0000n;
const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Writes to a memfd on a thread of its own, whatever others do meanwhile, and sets a bit for what it has written. */
const WRITER = `
const { parentPort, workerData } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const { fd, size, dirty, flags } = workerData;
let state = 1;
const random = (below) => {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return (state >>> 8) % below;
};
while (Atomics.load(flags, 0) === 0) {
  const length = 1 + random(9000);
  const at = random(size - length);
  writeSync(fd, Buffer.alloc(length, random(3) === 0 ? 0 : random(256)), 0, length, at);
  for (let page = at >> 12; page <= (at + length - 1) >> 12; page++) Atomics.or(dirty, page >> 5, 1 << (page & 31));
  Atomics.add(flags, 1, 1);
}
parentPort.postMessage('stopped');
`;

/** Starts the writer on a region; `stop` resolves when it has written for the last time. */
function writerOf(fd: number) {
  const dirty = new Int32Array(new SharedArrayBuffer(SIZE / PAGE / 8));
  const flags = new Int32Array(new SharedArrayBuffer(8));
  const worker = new Worker(WRITER, { eval: true, workerData: { fd, size: SIZE, dirty, flags } });
  const stopped = new Promise((resolve) => worker.once('message', resolve));
  cleanups.push(() => worker.terminate());
  return {
    writes: () => Atomics.load(flags, 1),
    stop: async () => {
      Atomics.store(flags, 0, 1);
      Atomics.notify(flags, 0);
      await stopped;
    },
    report: (mark: (iova: bigint, length: bigint) => void) => {
      dirty.forEach((_, word) => {
        const bits = Atomics.exchange(dirty, word, 0);
        for (let bit = 0; bit < 32; bit++) {
          if (((bits >>> bit) & 1) === 1) mark(IOVA + BigInt((word * 32 + bit) * PAGE), BigInt(PAGE));
        }
      });
    },
  };
}

function guestMemory() {
  const memory = new GuestMemory(loadNative());
  cleanups.push(() => memory.close());
  return memory.add({ iova: IOVA, size: SIZE });
}

/** Both ends of a channel over a socket, which checksums what it carries. */
async function channels(): Promise<readonly [Channel, Channel]> {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-live-'));
  cleanups.push(() => rmSync(folder, { recursive: true, force: true }));
  const endpoint = `unix:${join(folder, 'channel')}`;
  const about = { group: '5'.repeat(32), epoch: 1n, silenceMs: 60_000 };
  let arrived: (channel: Channel) => void = () => {};
  const accepted = new Promise<Channel>((resolve) => {
    arrived = resolve;
  });
  const listener = await listenForChannels(endpoint, {
    ...about,
    role: 'receiver',
    accepted: (channel) => arrived(channel),
  });
  try {
    return [await connectChannel(endpoint, { ...about, role: 'sender' }), await accepted];
  } finally {
    await listener.close();
  }
}

describe('guest memory that another thread writes at all times', () => {
  it('passes the checksums of a socket, and is equal when its writer has stopped', async () => {
    const world = newWorld();
    const [here, there] = [guestMemory(), guestMemory()];
    const writer = writerOf(here.fd ?? -1);
    await until(() => writer.writes() > 100);
    const control = new MigrationControl();
    control.pauseBeforeSwitch();
    const released = until(() => control.status()?.waiting === true).then(async () => {
      const before = writer.writes();
      await until(() => writer.writes() > before + 100);
      control.resume();
    });
    const [sender, receiver] = await channels();
    const patience = { timeoutMs: 60_000, hookTimeoutMs: 60_000, answerTimeoutMs: 60_000 };
    const [report] = await Promise.all([
      runSender({
        ...patience,
        devices: [world.source],
        channel: sender,
        control,
        limits: { downtimeMs: 60_000 },
        hooks: { beforeStop: () => writer.stop() },
        memory: new MappedMemorySource([here], [vmmTracker(writer)]),
      }),
      runReceiver({
        ...patience,
        devices: [world.destination],
        channel: receiver,
        memory: new MappedMemoryTarget([there], { fresh: true }),
      }),
      released,
    ]);
    expect(Buffer.compare(here.bytes, there.bytes)).toBe(0);
    expect(report.iterations).toBeGreaterThan(0);
    expect(report.bytes.stopCopy, 'what was written in between').toBeGreaterThan(PAGE);
    expect(world.violation).toBeNull();
  }, 180_000);
});
