import { setTimeout as sleep } from 'node:timers/promises';
import type { DeviceClient } from '../../client/index.ts';
import { MEMORY_VECTORS, MemoryRegister as Reg } from '../../devices/index.ts';
import { RegionIndex } from '../../protocol/index.ts';
import { MigrationState, stateName } from '../../states/index.ts';
import { counted, grouped } from '../options/quantities.ts';
import { type DmaJobs, JOB_VECTOR } from './dma-jobs.ts';
import type { Guest } from './guest.ts';
import { differences, type Image } from './image.ts';
import type { Load } from './load.ts';

const { BAR0, BAR2 } = RegionIndex;
/** How long the last interrupts, and the next tick of the clock, are waited for, in milliseconds. */
const SETTLE_LIMIT_MS = 5_000;

/** One thing that was verified. */
export interface Check {
  readonly name: 'memory' | 'file' | 'settings' | 'interrupts' | 'dma' | 'clock' | 'states';
  readonly ok: boolean;
  /** What was found, in one sentence. */
  readonly said: string;
}

/** Everything that was at work while the device moved. */
export interface Scene {
  readonly guest: Guest;
  readonly image: Image;
  readonly load: Load;
  readonly jobs: DmaJobs;
  /** What the clock read last at the source. */
  readonly clockAtSource: number;
  readonly source: DeviceClient;
  readonly destination: DeviceClient;
}

/** Compares everything that can be compared, after the load has stopped. */
export async function verify(scene: Scene): Promise<readonly Check[]> {
  const actual = await scene.guest.access(({ client }) => client.read(BAR2, 0, scene.image.model.length));
  return [
    checkMemory(scene, actual),
    checkFile(scene, actual),
    await checkSettings(scene),
    await checkInterrupts(scene),
    checkJobs(scene),
    await checkClock(scene),
    await checkStates(scene),
  ];
}

function checkMemory({ image, guest, load }: Scene, actual: Uint8Array): Check {
  const read = differences(image.model, actual);
  const mapped = differences(image.model, guest.attachment.mapped.subarray(0, image.model.length));
  const bytes = grouped(image.model.length);
  const writes = counted(load.mappedWrites + load.messageWrites, 'write');
  if (read === 0 && mapped === 0) {
    return { name: 'memory', ok: true, said: `all ${bytes} bytes are what the guest wrote, after ${writes}` };
  }
  return {
    name: 'memory',
    ok: false,
    said: `${grouped(Math.max(read, mapped))} of ${bytes} bytes are wrong`,
  };
}

function checkFile({ image }: Scene, actual: Uint8Array): Check {
  const { bytes, different } = image.compareWithFile(actual);
  const said =
    different === 0
      ? `${grouped(bytes)} bytes that the guest never wrote are those of the file`
      : `${grouped(different)} of ${grouped(bytes)} bytes differ from the file`;
  return { name: 'file', ok: different === 0, said };
}

async function checkSettings({ guest }: Scene): Promise<Check> {
  const lost = await guest.lostSettings();
  const said =
    lost.length === 0
      ? 'configuration space and registers are as the driver set them'
      : `the driver does not find ${lost.join(', ')} as it was`;
  return { name: 'settings', ok: lost.length === 0, said };
}

/** The guest's requests, the device's own counters, and what arrived must agree, vector by vector. */
async function checkInterrupts({ guest, load, jobs }: Scene): Promise<Check> {
  const asked = load.rung.map((count, vector) => (vector === JOB_VECTOR ? jobs.started : count));
  const total = asked.reduce((sum, count) => sum + count, 0);
  const raised = await settled(
    () => readCounters(guest),
    (counters) => equal(counters, guest.received),
  );
  if (equal(asked, raised) && equal(raised, guest.received)) {
    return { name: 'interrupts', ok: true, said: `${counted(total, 'interrupt')}: none lost, none doubled` };
  }
  const found = `asked for ${asked.join('/')}, raised ${raised.join('/')}, received ${guest.received.join('/')}`;
  return { name: 'interrupts', ok: false, said: `interrupts by vector: ${found}` };
}

/** Reads until it is what it should become, or for as long as that may take. */
async function settled<T>(read: () => Promise<T>, isSettled: (value: T) => boolean): Promise<T> {
  const deadline = performance.now() + SETTLE_LIMIT_MS;
  for (;;) {
    const value = await read();
    if (isSettled(value) || performance.now() > deadline) return value;
    await sleep(10);
  }
}

function readCounters(guest: Guest): Promise<number[]> {
  return guest.access(async ({ client }) => {
    const counters: number[] = [];
    for (let vector = 0; vector < MEMORY_VECTORS; vector += 1) {
      counters.push(await client.readU32(BAR0, Reg.INTERRUPTS_0 + 4 * vector));
    }
    return counters;
  });
}

function checkJobs({ jobs }: Scene): Check {
  const ok = jobs.wrong === 0 && jobs.started > 0;
  const moved =
    jobs.moved > 0 ? `, ${jobs.moved} of them begun at the source and ended at the destination` : '';
  const said = ok
    ? `${counted(jobs.started, 'checksum')} of guest memory by DMA are right${moved}`
    : `${grouped(jobs.wrong)} of ${counted(jobs.started, 'checksum')} by DMA are wrong or did not come`;
  return { name: 'dma', ok, said };
}

async function checkClock({ guest, load, clockAtSource }: Scene): Promise<Check> {
  const read = (): Promise<number> => guest.access(({ client }) => client.readU32(BAR0, Reg.TICKS));
  const first = await read();
  const last = await settled(read, (now) => now !== first);
  const ok = load.clockJumps === 0 && first >= clockAtSource && last > first;
  const said = ok
    ? `the clock went on from ${grouped(clockAtSource)} to ${grouped(last)} and never back`
    : `the clock went back ${counted(load.clockJumps, 'time')}, and read ${clockAtSource}, ${first}, ${last}`;
  return { name: 'clock', ok, said };
}

async function checkStates({ source, destination }: Scene): Promise<Check> {
  const [from, to] = [await source.migrationState(), await destination.migrationState()];
  const ok = from === MigrationState.STOP && to === MigrationState.RUNNING;
  return {
    name: 'states',
    ok,
    said: `the source is in ${stateName(from)}, the destination in ${stateName(to)}`,
  };
}

function equal(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}
