import { afterEach, describe, expect, it } from 'vitest';
import { DeviceClient, GuestMemory, type GuestRegion } from '../../../src/client/index.ts';
import {
  EDU_BUFFER,
  EDU_BUFFER_SIZE,
  Edu,
  EduDmaCommand,
  EduRegister as Reg,
} from '../../../src/devices/index.ts';
import {
  clientEnd,
  dmaTracker,
  MappedMemorySource,
  MappedMemoryTarget,
  MigrationControl,
  migrate,
  vmmTracker,
} from '../../../src/engine/index.ts';
import { loadNative } from '../../../src/native/index.ts';
import { RegionIndex } from '../../../src/protocol/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import { serveForTest } from '../../helpers/served.ts';

const MiB = 1024 * 1024;
/** Two regions with a gap, below the 28 bits that edu reaches. */
const LAYOUT = [
  { iova: 0x10_0000n, size: 4 * MiB },
  { iova: 0x80_0000n, size: 2 * MiB },
];
const COMMAND = 4;
const MASTER = 6;
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

/** A served edu with a VMM on its main socket and a controller on the other. */
async function machine() {
  const served = serveForTest(new Edu());
  cleanups.push(() => served.close());
  const memory = new GuestMemory(loadNative());
  cleanups.push(() => memory.close());
  for (const each of LAYOUT) memory.add(each);
  const connect = async (path: string): Promise<DeviceClient> => {
    const client = await DeviceClient.connect(path, { timeoutMs: 30_000 });
    cleanups.push(() => client.close());
    return client;
  };
  const vmm = await connect(served.socketPath);
  for (const region of memory.regions) await vmm.mapMemory(region);
  await vmm.writeU16(RegionIndex.CONFIG, COMMAND, MASTER);
  return { vmm, memory, control: await connect(served.controlPath) };
}

/** Has the device read a page of guest memory and write it elsewhere; resolves when both is done. */
async function copyByDevice(vmm: DeviceClient, from: bigint, to: bigint): Promise<void> {
  await dma(vmm, from, EDU_BUFFER, EduDmaCommand.RUN);
  await dma(vmm, EDU_BUFFER, to, EduDmaCommand.RUN | EduDmaCommand.TO_MEMORY);
}

async function dma(vmm: DeviceClient, from: bigint, to: bigint, command: number): Promise<void> {
  await vmm.writeU64(0, Reg.DMA_SOURCE, from);
  await vmm.writeU64(0, Reg.DMA_DESTINATION, to);
  await vmm.writeU64(0, Reg.DMA_COUNT, BigInt(EDU_BUFFER_SIZE));
  await vmm.writeU32(0, Reg.DMA_COMMAND, command);
  while (((await vmm.readU32(0, Reg.DMA_COMMAND)) & EduDmaCommand.RUN) !== 0);
}

/** Numbers that look random and are always the same. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
}

/** A guest that writes by itself and has its device write, until it is stopped. */
class BusyGuest {
  readonly #vmm: DeviceClient;
  readonly #memory: GuestMemory;
  readonly #random = numbers(7);
  readonly written: { iova: bigint; length: bigint }[] = [];
  rounds = 0;
  #running = true;
  readonly #done: Promise<void>;

  constructor(vmm: DeviceClient, memory: GuestMemory) {
    this.#vmm = vmm;
    this.#memory = memory;
    this.#done = this.#run();
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#done;
  }

  async #run(): Promise<void> {
    while (this.#running) {
      const [from, to] = [this.#page(), this.#page()];
      const value = this.#random(4) === 0 ? 0 : 1 + this.#random(255);
      from.region.bytes.fill(value, from.at, from.at + EDU_BUFFER_SIZE);
      this.written.push({ iova: from.region.iova + BigInt(from.at), length: BigInt(EDU_BUFFER_SIZE) });
      await copyByDevice(this.#vmm, from.region.iova + BigInt(from.at), to.region.iova + BigInt(to.at));
      this.rounds += 1;
    }
  }

  #page(): { region: GuestRegion; at: number } {
    const { regions } = this.#memory;
    const region = regions[this.#random(regions.length)];
    if (region === undefined) throw new Error('no memory');
    // A device need not write whole pages.
    return { region, at: this.#random(Number(region.size) - EDU_BUFFER_SIZE) };
  }
}

async function moveWithGuest(trackDevice: boolean) {
  const [here, there] = [await machine(), await machine()];
  const guest = new BusyGuest(here.vmm, here.memory);
  const vmm = vmmTracker({
    report: (mark) => {
      for (const { iova, length } of guest.written.splice(0)) mark(iova, length);
    },
  });
  const source = new MappedMemorySource(
    here.memory.regions,
    trackDevice ? [dmaTracker(here.control), vmm] : [vmm],
  );
  const control = new MigrationControl();
  control.pauseBeforeSwitch();
  // The guest goes on for a while when all has been sent once.
  const waited = (async () => {
    while (control.status()?.waiting !== true) await new Promise((resolve) => setImmediate(resolve));
    const before = guest.rounds;
    while (guest.rounds < before + 20) await new Promise((resolve) => setImmediate(resolve));
    control.resume();
  })();
  const report = await migrate(clientEnd(here.control), clientEnd(there.control), {
    control,
    memory: { source, destination: new MappedMemoryTarget(there.memory.regions, { fresh: true }) },
    hooks: { beforeStop: () => guest.stop() },
    limits: { downtimeMs: 20_000 },
    timeoutMs: 30_000,
    hookTimeoutMs: 30_000,
  });
  await waited;
  return { here, there, report };
}

function differing(here: GuestMemory, there: GuestMemory): number {
  return here.regions.filter(
    ({ bytes }, i) => Buffer.compare(bytes, there.regions[i]?.bytes ?? new Uint8Array()) !== 0,
  ).length;
}

describe('guest memory that an edu writes by DMA while both move', () => {
  it('is equal at the destination, where the device goes on with it', async () => {
    const { here, there, report } = await moveWithGuest(true);
    expect(differing(here.memory, there.memory)).toBe(0);
    expect(here.memory.regions.some(({ bytes }) => bytes.some((byte) => byte !== 0))).toBe(true);
    expect(report.notes.join()).not.toContain('could not tell');
    expect(await there.control.migrationState()).toBe(MigrationState.RUNNING);
    const [region] = there.memory.regions;
    if (region === undefined) throw new Error('no memory');
    region.bytes.fill(0x77, 0, EDU_BUFFER_SIZE);
    await copyByDevice(there.vmm, region.iova, region.iova + 0x2000n);
    expect(region.bytes.subarray(0x2000, 0x3000).every((byte) => byte === 0x77)).toBe(true);
    // Nobody logs at the source any longer, so it can be logged anew.
    expect(await here.control.startDmaLogging(4096n, [])).toBe(4096n);
  }, 120_000);

  it('differs when nobody asks the device what it wrote', async () => {
    const { here, there } = await moveWithGuest(false);
    expect(differing(here.memory, there.memory)).toBeGreaterThan(0);
  }, 120_000);

  it('moves with a report after the devices stopped: a reset before that loses the log, and everything is sent', async () => {
    const { control, vmm, memory } = await machine();
    const source = new MappedMemorySource(memory.regions, [dmaTracker(control)]);
    await source.start();
    await source.copy({ pages: () => null, zeros: () => null }, Number.POSITIVE_INFINITY, false);
    const [region] = memory.regions;
    if (region === undefined) throw new Error('no memory');
    region.bytes.fill(3, 0, EDU_BUFFER_SIZE);
    await copyByDevice(vmm, region.iova, region.iova + 0x5000n);
    await vmm.reset();
    expect(await source.rest()).toBe(BigInt(6 * MiB));
    expect(source.notes).toHaveLength(1);
    await source.stop();
  }, 120_000);
});
