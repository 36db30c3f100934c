import { describe, expect, it } from 'vitest';
import type { ServedDevice } from '../../../src/device/index.ts';
import type { NvmeDevice } from '../../../src/devices/index.ts';
import { IrqIndex } from '../../../src/protocol/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import { enableMsix, type NvmeDriver, settled } from './driver.ts';
import { ManualNamespace } from './manual-namespace.ts';
import { RandomIo } from './random-io.ts';
import { benches, DEDICATED, MAPPED, MESSAGE, type Way } from './setup.ts';
import { SharedDisk } from './shared-disk.ts';

const { RUNNING, RUNNING_P2P, STOP, STOP_COPY, RESUMING, PRE_COPY, PRE_COPY_P2P } = MigrationState;

type Arc = readonly [from: MigrationState, to: MigrationState];

async function walk({ migration }: ServedDevice, ...arcs: readonly Arc[]): Promise<void> {
  for (const [from, to] of arcs) await migration.arc(from, to);
}

/** Moves as much of the state as there is now. */
function copy(source: ServedDevice, destination: ServedDevice, chunk = new Uint8Array(1024 * 1024)): void {
  for (let length = source.migration.read(chunk); length > 0; length = source.migration.read(chunk)) {
    destination.migration.write(chunk.subarray(0, length));
  }
}

/** Moves a device's state to another one, stopped all the time. */
async function move(source: ServedDevice, destination: ServedDevice): Promise<void> {
  await walk(source, [RUNNING, RUNNING_P2P], [RUNNING_P2P, STOP], [STOP, STOP_COPY]);
  await walk(destination, [RUNNING, RUNNING_P2P], [RUNNING_P2P, STOP], [STOP, RESUMING]);
  copy(source, destination);
  await walk(destination, [RESUMING, STOP]);
  await walk(source, [STOP_COPY, STOP]);
  await walk(destination, [STOP, RUNNING_P2P], [RUNNING_P2P, RUNNING]);
}

/** Moves it while it runs, and stops it only for the rest. */
async function moveLive(source: ServedDevice, destination: ServedDevice, meanwhile: () => Promise<void>) {
  await walk(destination, [RUNNING, RUNNING_P2P], [RUNNING_P2P, STOP], [STOP, RESUMING]);
  await walk(source, [RUNNING, PRE_COPY]);
  for (let round = 0; round < 3; round++) {
    copy(source, destination);
    await meanwhile();
  }
  await walk(source, [PRE_COPY, PRE_COPY_P2P]);
  copy(source, destination);
  await walk(source, [PRE_COPY_P2P, STOP_COPY]);
  copy(source, destination);
  await walk(destination, [RESUMING, STOP]);
  await walk(source, [STOP_COPY, STOP]);
  await walk(destination, [STOP, RUNNING_P2P], [RUNNING_P2P, RUNNING]);
}

const RAM = 256 * 1024;

describe.each([MAPPED, DEDICATED, MESSAGE])('a controller that moves under load ($name)', (way: Way) => {
  const { make } = benches();

  it('completes each command exactly once, with the right data', async () => {
    const first = make(way, { ram: RAM });
    const { driver, guest } = first;
    await driver.enable();
    const io = await RandomIo.start(driver, { pairs: 3, blocks: RAM / 512, seed: 7 });
    let { served } = first;
    for (let round = 0; round < 24; round++) {
      await io.turns(1 + (round % 4));
      io.submit();
      const next = make(way, { ram: RAM, serial: `OTHER ${round}` }, guest);
      if (round % 2 === 0) await move(served, next.served);
      else await moveLive(served, next.served, () => io.turns(2));
      driver.attach(next.served);
      served.close();
      served = next.served;
    }
    await io.finish();
    expect(io.completed).toBeGreaterThan(150);
  });

  it('goes on where it was when the move is called off', async () => {
    const { driver, served } = make(way, { ram: RAM });
    await driver.enable();
    const io = await RandomIo.start(driver, { pairs: 2, blocks: RAM / 512, seed: 8 });
    for (let round = 0; round < 20; round++) {
      await io.turns(2);
      io.submit();
      await walk(served, [RUNNING, RUNNING_P2P], [RUNNING_P2P, STOP], [STOP, STOP_COPY], [STOP_COPY, STOP]);
      await walk(served, [STOP, RUNNING_P2P], [RUNNING_P2P, RUNNING]);
    }
    await io.finish();
    expect(io.completed).toBeGreaterThan(100);
  });
});

describe.each([MAPPED, MESSAGE])(
  'a controller with a shared disk that moves under load ($name)',
  (way: Way) => {
    const { make } = benches();

    it('completes each command exactly once, and no two use the disk at a time', async () => {
      const disk = new SharedDisk(RAM);
      const first = make(way, { backend: disk.open() });
      const { driver, guest } = first;
      await driver.enable();
      const io = await RandomIo.start(driver, { pairs: 3, blocks: RAM / 512, seed: 9 });
      let { served } = first;
      for (let round = 0; round < 20; round++) {
        await io.turns(1 + (round % 5));
        io.submit();
        const next = make(way, { backend: disk.open() }, guest);
        if (round % 2 === 0) await move(served, next.served);
        else await moveLive(served, next.served, () => io.turns(2));
        driver.attach(next.served);
        served.close();
        served = next.served;
      }
      await io.finish();
      expect(io.completed).toBeGreaterThan(80);
    });
  },
);

describe('a controller that moves', () => {
  const { make } = benches();

  /** Everything of a controller that a guest can see. */
  async function portrait(driver: NvmeDriver): Promise<unknown> {
    const feature = async (id: number, dword11 = 0) =>
      (await driver.command({ opcode: 0x0a, dwords: [id, dword11] })).result;
    const page = driver.guest.base;
    await driver.command({ opcode: 0x06, prp1: page, dwords: [1] });
    const identity = driver.guest.at(page, 4096).slice();
    await driver.command({ opcode: 0x02, prp1: page, dwords: [0x00ff8001] });
    const errors = driver.guest.at(page, 1024).slice();
    return {
      registers: [0x0c, 0x14, 0x1c, 0x24, 0x28, 0x2c, 0x30, 0x34].map((offset) => driver.read(offset)),
      features: await Promise.all([1, 4, 5, 7, 8, 10, 11].map((id) => feature(id))),
      vector: await feature(9, 2),
      identity: Buffer.from(identity).toString('hex'),
      errors: Buffer.from(errors).toString('hex'),
    };
  }

  it('takes registers, features, masks, logs, requests and its identity along', async () => {
    const source = make(MAPPED, { serial: 'SOURCE' });
    const { driver, guest } = source;
    await driver.enable();
    for (const [id, value] of [
      [0x01, 0x0a0b0c01],
      [0x04, 0x140],
      [0x05, 0x77],
      [0x07, 0x00030004],
      [0x08, 0x0203],
      [0x09, 0x00010002],
      [0x0a, 1],
      [0x0b, 0x1f],
    ])
      await driver.command({ opcode: 0x09, dwords: [id ?? 0, value ?? 0] });
    await driver.createPair(1, 8);
    driver.write(0x0c, 0x50);
    const request = driver.admin.put({ opcode: 0x0c });
    driver.admin.ring();
    await driver.command({ opcode: 0x77 });
    const before = await portrait(driver);
    const destination = make(MAPPED, { serial: 'DESTINATION' }, guest);
    await move(source.served, destination.served);
    driver.attach(destination.served);
    expect(await portrait(driver)).toEqual(before);
    driver.write(0x1028, 1);
    await settled();
    expect(driver.admin.reap().map(({ id, result }) => [id, result])).toEqual([[request, 0x00010000]]);
    await destination.served.reset();
    await driver.enable();
    await driver.command({ opcode: 0x06, prp1: guest.base, dwords: [1] });
    const serial = Buffer.from(guest.at(guest.base + 4n, 6)).toString('latin1');
    expect(serial, 'it is the same disk after a reset, too').toBe('SOURCE');
  });

  it('signals again what may not have been seen', async () => {
    const source = make(MAPPED);
    const { driver, guest } = source;
    enableMsix(source.served);
    await driver.enable();
    const pair = await driver.createPair(1, 8, 3);
    pair.put({ opcode: 0, namespace: 1 });
    pair.ring();
    const destination = make(MAPPED, {}, guest);
    await move(source.served, destination.served);
    expect(destination.served.interrupts.pendingVectors(IrqIndex.MSIX)).toContain(3);
  });

  it('finishes at the destination the shutdown and the start that it had not finished', async () => {
    const slow = new ManualNamespace({ manual: ['flush', 'quiesce'] });
    const source = make(MAPPED, { backend: slow });
    const { driver, guest } = source;
    await driver.enable();
    driver.write(0x14, 0x00464001);
    const moving = walk(source.served, [RUNNING, RUNNING_P2P]);
    await settled();
    slow.finish();
    await moving;
    expect(driver.status).toBe(1 | 0x8);
    driver.write(0x14, 0x00460000);
    driver.write(0x14, 0x00460001);
    await settled();
    expect(driver.status, 'nothing happens while it may not').toBe(1 | 0x8);
    const destination = make(MAPPED, { backend: new ManualNamespace({ manual: [] }) }, guest);
    const stopped = walk(source.served, [RUNNING_P2P, STOP], [STOP, STOP_COPY]);
    await settled();
    slow.finish();
    await settled();
    slow.finish();
    await stopped;
    await walk(destination.served, [RUNNING, RUNNING_P2P], [RUNNING_P2P, STOP], [STOP, RESUMING]);
    copy(source.served, destination.served);
    await walk(destination.served, [RESUMING, STOP], [STOP, RUNNING_P2P], [RUNNING_P2P, RUNNING]);
    driver.attach(destination.served);
    driver.admin.clear();
    await settled();
    expect(driver.status).toBe(1);
    expect((await driver.command({ opcode: 0x0a, dwords: [0x07] })).result).toBe(0x003f003f);
  });
});

describe('storage that is shared', () => {
  const { make } = benches();

  it('is durable and released when the device has stopped, and taken before it runs', async () => {
    const backend = new ManualNamespace({ manual: ['quiesce', 'resume'] });
    const { driver, served } = make(MAPPED, { backend });
    const enabled = driver.enable();
    await settled();
    backend.finish();
    await enabled;
    await walk(served, [RUNNING, RUNNING_P2P]);
    const stopping = walk(served, [RUNNING_P2P, STOP]);
    let stopped = false;
    void stopping.then(() => {
      stopped = true;
    });
    await settled();
    expect([stopped, backend.pending.map(({ operation }) => operation)]).toEqual([false, ['quiesce']]);
    backend.finish();
    await stopping;
    const running = walk(served, [STOP, RUNNING_P2P]);
    await settled();
    expect([served.inspect().running, backend.pending.map(({ operation }) => operation)]).toEqual([
      false,
      ['resume'],
    ]);
    backend.finish();
    await running;
    expect(served.inspect().running).toBe(true);
  });

  it('keeps the device where it is when it is not to be had', async () => {
    const backend = new ManualNamespace({ manual: ['quiesce'] });
    const { driver, served } = make(MAPPED, { backend });
    await driver.enable();
    await walk(served, [RUNNING, RUNNING_P2P]);
    const stopping = walk(served, [RUNNING_P2P, STOP]);
    await settled();
    backend.refuse();
    await expect(stopping).rejects.toThrow('the storage has failed');
    expect(served.inspect().running).toBe(true);
    await walk(served, [RUNNING_P2P, RUNNING]);
    expect((await driver.command({ opcode: 0x0a, dwords: [0x07] })).status).toBe(0);
  });

  it('is left alone while no guest has enabled the controller', async () => {
    const backend = new ManualNamespace({ manual: [] });
    const { served, driver } = make(MAPPED, { backend });
    await walk(
      served,
      [RUNNING, RUNNING_P2P],
      [RUNNING_P2P, STOP],
      [STOP, RUNNING_P2P],
      [RUNNING_P2P, RUNNING],
    );
    expect(backend.begun.get('resume')).toBeUndefined();
    await driver.enable();
    expect(backend.begun.get('resume')).toBe(1);
  });

  it('has to have the size that the state was made with', async () => {
    const source = make(MAPPED, { backend: new ManualNamespace({ manual: [] }) });
    await source.driver.enable();
    const backend = new ManualNamespace({ manual: [], blockSize: 4096 });
    const destination = make(MAPPED, { backend }, source.guest);
    await walk(source.served, [RUNNING, RUNNING_P2P], [RUNNING_P2P, STOP], [STOP, STOP_COPY]);
    await walk(destination.served, [RUNNING, RUNNING_P2P], [RUNNING_P2P, STOP], [STOP, RESUMING]);
    copy(source.served, destination.served);
    await expect(walk(destination.served, [RESUMING, STOP])).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_MIGRATION' }),
    );
    expect(backend.begun.get('resume')).toBeUndefined();
    await destination.served.reset();
    await destination.driver.enable();
  });
});

describe('a state that no controller can have had', () => {
  const { make } = benches();

  it.each<[string, (state: NvmeDevice['state']) => void]>([
    ['a queue with too many entries', ({ submissionSize }) => submissionSize.fill(5000, 1, 2)],
    ['a queue of one entry', ({ completionSize }) => completionSize.fill(1, 1, 2)],
    ['a head behind the end', ({ submissionHead }) => submissionHead.fill(8, 1, 2)],
    ['a tail behind the end', ({ completionTail }) => completionTail.fill(9, 1, 2)],
    ['a queue that completes to none', ({ submissionTarget }) => submissionTarget.fill(77, 1, 2)],
    ['a vector that does not exist', ({ completionVector }) => completionVector.fill(65, 1, 2)],
    [
      'more event requests than there is room for',
      (state) => {
        state.eventRequestCount = 5;
      },
    ],
  ])('is refused: %s', async (_, spoil) => {
    const source = make(MAPPED);
    const destination = make(MAPPED, {}, source.guest);
    await source.driver.enable();
    await source.driver.createPair(1, 8);
    await walk(source.served, [RUNNING, RUNNING_P2P], [RUNNING_P2P, STOP], [STOP, STOP_COPY]);
    spoil(source.device.state);
    await walk(destination.served, [RUNNING, RUNNING_P2P], [RUNNING_P2P, STOP], [STOP, RESUMING]);
    copy(source.served, destination.served);
    await expect(walk(destination.served, [RESUMING, STOP])).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_MIGRATION' }),
    );
    await destination.served.reset();
    await destination.driver.enable();
  });
});
