import { describe, expect, it } from 'vitest';
import { saveTo } from '../../../src/channel/index.ts';
import {
  type Leave,
  MigrationError,
  readSavedContent,
  restore,
  type SaveReport,
  save,
} from '../../../src/engine/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import { MemorySink, memorySource } from '../../channel/memory-file.ts';
import type { World } from '../fake-world.ts';
import { newWorld } from '../moves.ts';

const { STOP, RUNNING } = MigrationState;
const group = 'ab'.repeat(16);

interface Saved {
  readonly world: World;
  readonly sink: MemorySink;
  readonly report: SaveReport;
}

async function saved(leave: Leave = 'running', world: World = newWorld()): Promise<Saved> {
  const sink = new MemorySink();
  const file = saveTo(sink, { group, epoch: 1n });
  const report = await save({ file, leave, devices: [world.source], clock: world.clock });
  return { world, sink, report };
}

/** Gives the saved state to the destination of a world of its own. */
async function restored(bytes: Uint8Array, pipe = false): Promise<World> {
  const world = newWorld();
  const file = memorySource(bytes, 100);
  const source = pipe ? { ...file, rewind: null } : file;
  await restore({ source, devices: [world.destination], clock: world.clock });
  return world;
}

describe('save', () => {
  it('writes a whole file and lets the device run on', async () => {
    const { world, sink, report } = await saved();
    expect(sink.state).toBe('finished');
    expect(world.source.runsGuest).toBe(true);
    expect(report).toMatchObject({ group, leave: 'running', file: 'memory' });
    expect(report.fileBytes).toBeGreaterThan(4 * 8);
    expect(report.fileBytes).toBeLessThan(sink.bytes.length);
    const { devices, summary } = await readSavedContent(memorySource(sink.bytes));
    expect(summary.group).toBe(group);
    expect(devices).toMatchObject([{ name: 'source', bytes: 4 * 8 }]);
  });

  it('stops the device for good when told so', async () => {
    const { world, sink } = await saved('stopped');
    expect(sink.state).toBe('finished');
    expect(world.source.deviceState).toBe(STOP);
    expect(world.source.retired).toBe(true);
  });

  it.each(['running', 'stopped'] as const)(
    'leaves no file, and the device running, when the disk is full (%s)',
    async (leave) => {
      const world = newWorld();
      const sink = new MemorySink();
      sink.failure = new Error('no space left on device');
      const file = saveTo(sink, { group, epoch: 1n });
      const saving = save({ file, leave, devices: [world.source], clock: world.clock });
      await expect(saving).rejects.toThrow('no space left on device');
      expect(sink.state).toBe('discarded');
      expect(world.source.runsGuest).toBe(true);
    },
  );

  it('leaves no file, and the device running, when it is cancelled', async () => {
    const world = newWorld();
    const sink = new MemorySink();
    const file = saveTo(sink, { group, epoch: 1n });
    const signal = AbortSignal.abort();
    const saving = save({ file, signal, devices: [world.source], clock: world.clock });
    await expect(saving).rejects.toBeInstanceOf(MigrationError);
    await file.closed;
    expect(sink.state).toBe('discarded');
    expect(world.source.deviceState).toBe(RUNNING);
  });

  it('tells of vCPUs that could not be started again', async () => {
    const world = newWorld();
    const file = saveTo(new MemorySink(), { group, epoch: 1n });
    const resume = (): never => {
      throw new Error('no vCPUs');
    };
    const saving = save({ file, devices: [world.source], clock: world.clock, hooks: { resume } });
    await expect(saving).rejects.toThrow('no vCPUs');
    expect(world.source.runsGuest).toBe(true);
  });
});

describe.each([
  ['a file', false],
  ['a pipe', true],
])('restore from %s', { timeout: 120_000 }, (_, pipe) => {
  it('gives another device the state, and has it run', async () => {
    const { sink } = await saved();
    expect((await restored(sink.bytes, pipe)).destination.runsGuest).toBe(true);
  });

  it('never runs a device with a stream of which any byte has been changed', async () => {
    const { sink } = await saved();
    for (let at = 0; at < sink.bytes.length; at += 1) {
      const bytes = sink.bytes;
      bytes[at] = (bytes[at] ?? 0) ^ (1 << (at % 8));
      await refused(bytes, pipe, `byte ${at}`);
    }
  });

  it('never runs a device with a stream that ends early, or goes on', async () => {
    const { sink } = await saved();
    for (let length = 0; length < sink.bytes.length; length += 7) {
      await refused(sink.bytes.slice(0, length), pipe, `${length} bytes`);
    }
    await refused(new Uint8Array([...sink.bytes, 0]), pipe, 'one byte more');
  });
});

/** Nothing of it runs; a file that can be read twice does not even touch the device. */
async function refused(bytes: Uint8Array, pipe: boolean, what: string): Promise<void> {
  const world = newWorld();
  const file = memorySource(bytes);
  const ran: string[] = [];
  world.onCheck = () => {
    if (world.destination.hasGuest && world.destination.isRunning) ran.push(what);
  };
  const source = pipe ? { ...file, rewind: null } : file;
  const restoring = restore({ source, devices: [world.destination], clock: world.clock });
  await expect(restoring, what).rejects.toThrow();
  expect(ran, what).toEqual([]);
  expect(world.destination.deviceState, what).toBe(RUNNING);
  expect(world.destination.runsGuest, what).toBe(false);
  if (!pipe) expect(world.calls, what).toEqual([]);
}

it('refuses a device of another kind, and changes nothing', async () => {
  const { sink } = await saved();
  const world = newWorld();
  world.destination.identity = { vendor: 1, device: 3 };
  const restoring = restore({
    ...{ source: memorySource(sink.bytes), devices: [world.destination], clock: world.clock },
  });
  await expect(restoring).rejects.toMatchObject({ code: 'ERR_MIGRATION_REFUSED', owner: 'source' });
  expect(world.destination.resets).toBe(0);
});
