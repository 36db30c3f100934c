import { afterEach, describe, expect, it } from 'vitest';
import { DeviceClient, V1Device } from '../../../src/client/index.ts';
import { MemoryDevice, MemoryRegister } from '../../../src/devices/index.ts';
import { deviceEnd, type MigrationEnd, migrate, V1End } from '../../../src/engine/index.ts';
import type { V1Options } from '../../../src/server/index.ts';
import { MigrationState } from '../../../src/states/index.ts';
import { serveForTest } from '../../helpers/served.ts';

const SIZE = 2 * 1024 * 1024;
const MEMORY = 2;
const { RUNNING, STOP } = MigrationState;
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

async function serve(v1: V1Options | null, content: Uint8Array | null = null) {
  const device = new MemoryDevice({ size: SIZE });
  if (content !== null) device.load(content);
  const served = serveForTest(device, { v1 });
  cleanups.push(() => served.close());
  const connect = async (path: string): Promise<DeviceClient> => {
    const client = await DeviceClient.connect(path);
    cleanups.push(() => client.close());
    return client;
  };
  return { served, connect, control: await connect(served.controlPath) };
}

type Side = Awaited<ReturnType<typeof serve>>;

/** As a controller reaches it: by v2, by v1 with the data section mapped, or by v1 with messages. */
async function endOf({ control }: Side, mapped: boolean, source: MigrationEnd | null): Promise<MigrationEnd> {
  const device = mapped ? null : await V1Device.open(control, { map: false });
  if (device === null) return deviceEnd(control, source);
  return new V1End(control, device, { source: source instanceof V1End ? source : null });
}

/** A guest that never stops writing, through its mapping and by messages, until it is stopped. */
async function startGuest(vmm: DeviceClient) {
  const { areas } = await vmm.mapRegion(MEMORY);
  const bytes = areas[0]?.bytes ?? new Uint8Array(0);
  const state = { stopped: false, writes: 0, seed: 12345 };
  const random = (below: number): number => {
    state.seed = (Math.imul(state.seed, 1103515245) + 12345) >>> 0;
    return state.seed % below;
  };
  const write = async (): Promise<void> => {
    while (!state.stopped) {
      bytes.fill(random(256), random(SIZE - 64));
      for (let i = 0; i < 20; i += 1) bytes[random(SIZE)] = random(256);
      await vmm.write(MEMORY, random(SIZE - 8), Uint8Array.of(random(256), 1, 2, 3));
      await vmm.writeU32(0, MemoryRegister.SCRATCH, state.writes + 1);
      state.writes += 1;
    }
  };
  const writing = write();
  // Whoever stops the guest is told; a test that fails before has its own error.
  writing.catch(() => {});
  return {
    get writes() {
      return state.writes;
    },
    /** Settles when the last write has been answered; what is there then is what has to arrive. */
    stop: async () => {
      state.stopped = true;
      await writing;
      return Buffer.from(bytes);
    },
  };
}

const PIECE = 64 * 1024;
const ways: readonly (readonly [string, V1Options | null, V1Options | null, boolean])[] = [
  ['v1 to v2', {}, null, true],
  ['v2 to v1', null, {}, true],
  ['v1 to v1', {}, {}, true],
  ['v1 to v1 by messages', {}, {}, false],
  ['v1 to v1 in small pieces', { dataSize: PIECE }, { dataSize: PIECE }, true],
  ['v2 to v1 with a small data section', null, { dataSize: PIECE }, true],
  ['v1 to v1 by the rules of libvfio-user', { rule: 'v1-libvfio-user' }, { rule: 'v1-libvfio-user' }, true],
];

describe.each(ways)('a move from %s', (_, here, there, mapped) => {
  it('keeps every byte under load', async () => {
    const source = await serve(
      here,
      Uint8Array.from({ length: SIZE }, (_each, i) => (i * 31 + (i >> 12)) & 0xff),
    );
    const destination = await serve(there);
    const from = await endOf(source, mapped, null);
    const to = await endOf(destination, mapped, from);
    const guest = await startGuest(await source.connect(source.served.socketPath));
    let left = Buffer.alloc(0);
    const report = await migrate(from, to, {
      limits: { whenNotConverging: 'switch', maxIterations: 4 },
      hooks: {
        beforeStop: async () => {
          left = await guest.stop();
        },
      },
    });
    expect(guest.writes).toBeGreaterThan(0);
    expect(report.bytes.preCopy).toBeGreaterThan(SIZE);
    expect([await from.state(), await to.state()]).toEqual([STOP, RUNNING]);
    const after = await destination.connect(destination.served.socketPath);
    expect(Buffer.compare(await after.read(MEMORY, 0, SIZE), left)).toBe(0);
    expect(await after.readU32(0, MemoryRegister.SCRATCH)).toBe(guest.writes);
  });
});

describe('a move that is refused', () => {
  it('because the destination has too small a data section for the pieces of v1 changes nothing', async () => {
    const source = await serve({});
    const destination = await serve({ dataSize: PIECE });
    const from = await endOf(source, true, null);
    const to = await endOf(destination, true, from);
    await expect(migrate(from, to)).rejects.toThrow(
      /takes pieces of 65536 bytes, and those of the source have up to 1048576/,
    );
    expect([await from.state(), await to.state()]).toEqual([RUNNING, RUNNING]);
  });
});

describe('a move whose destination can not load what it is given', () => {
  it('fails, and the source runs on', async () => {
    const source = await serve({});
    const destination = await serve({});
    const from = await endOf(source, true, null);
    const to = await endOf(destination, true, from);
    const spoilt: MigrationEnd = {
      ...methodsOf(to),
      write: (bytes) => to.write(Uint8Array.from(bytes, (byte) => byte ^ 0xff)),
    };
    await expect(migrate(from, spoilt)).rejects.toMatchObject({ owner: 'source' });
    expect([await from.state(), await to.state()]).toEqual([RUNNING, RUNNING]);
  });
});

function methodsOf(end: MigrationEnd): MigrationEnd {
  return {
    name: end.name,
    flags: () => end.flags(),
    state: () => end.state(),
    setState: (state) => end.setState(state),
    read: (maxBytes, consume) => end.read(maxBytes, consume),
    write: (bytes) => end.write(bytes),
    precopyInfo: () => end.precopyInfo(),
    dataSize: () => end.dataSize(),
    reset: () => end.reset(),
    inspect: () => end.inspect(),
  };
}
