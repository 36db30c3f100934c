import { expect } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { fields, type RawClient } from '../helpers/raw-client.ts';
import { CONFIG, EVERYTHING, native, ONE_BYTE, World } from './ownership-world.ts';

const { EBUSY, ENOENT, EPERM } = Errno;

const GET = 0x1_0000;
const SET = 0x2_0000;
const IOVA = 0x10_0000n;
const PAGE = 0x1000n;
const MSIX = 2;

/** What is seen of a kind of state: as it was arranged, at its reset value, not there at all, or anything else. */
export type Sight = 'there' | 'reset' | 'gone' | string;

/** A row of the table that says the same of every column. */
export interface PlainRow {
  /** What the table has to say of its owner for {@link trespass} to prove it. */
  readonly owner: string;
  /** A world in which the state is neither what a reset makes it nor what it is at first. */
  readonly arrange: () => Promise<World>;
  /** What has become of it. May change it. */
  readonly observe: (world: World) => Promise<Sight>;
  /** Does what somebody does who does not own it, and sees that it is refused or without effect. */
  readonly trespass: (world: World) => Promise<void>;
}

async function arranged(arrange: (world: World) => Promise<void>): Promise<World> {
  const world = await World.open();
  await arrange(world);
  return world;
}

async function refused(client: RawClient, errno: number, command: number, payload: Buffer): Promise<void> {
  expect(await client.request(command, payload)).toMatchObject({ error: errno });
}

/** Whether a report is too long for a client that takes one byte at a time. */
async function limitOf(client: RawClient): Promise<Sight> {
  const reply = await client.request(0xfe02, fields(1 << 20, 0));
  expect(reply.error).toBe(0);
  return reply.payload.length === 8 ? 'there' : 'gone';
}

const mainLimits: PlainRow = {
  owner: 'main connection',
  arrange: () => World.open(ONE_BYTE),
  observe: async (world) => limitOf(await world.vmm()),
  trespass: async (world) => {
    expect(await limitOf(await world.served.control(EVERYTHING))).toBe('gone');
  },
};

const controlLimits: PlainRow = {
  owner: 'control connection',
  arrange: () => World.open(EVERYTHING, ONE_BYTE),
  observe: async (world) => limitOf(await world.controller()),
  trespass: async (world) => {
    expect(await limitOf(await world.served.control(EVERYTHING))).toBe('gone');
    expect(await limitOf(await world.vmm())).toBe('gone');
  },
};

const dmaMaps: PlainRow = {
  owner: 'main connection',
  arrange: () =>
    arranged(async (world) => {
      const fd = native.memfd('guest', 4096, true);
      native.pwrite(fd, Buffer.from('guest'), 0, 5, 0);
      const reply = await world.main.request(2, fields(32, 3, 0n, IOVA, PAGE), [fd]);
      native.close(fd);
      expect(reply.error).toBe(0);
    }),
  observe: async (world) => {
    const bytes = Buffer.alloc(5);
    if (world.server.memory.mapCount > 0) world.server.memory.readSync(IOVA, bytes);
    const { error } = await (await world.vmm()).request(3, fields(24, 0, IOVA, PAGE));
    if (error === ENOENT && world.server.memory.mapCount === 0) return 'gone';
    return error === 0 && bytes.toString() === 'guest' ? 'there' : `errno ${error}`;
  },
  trespass: async ({ control }) => {
    await refused(control, EPERM, 2, fields(32, 3, 0n, 0n, PAGE));
    await refused(control, EPERM, 3, fields(24, 0, IOVA, PAGE));
    await refused(control, EPERM, 3, fields(24, 2, 0n, 0n));
  },
};

const eventfds: PlainRow = {
  owner: 'main connection',
  arrange: () => arranged((world) => world.giveEventfd(world.main, MSIX, 1)),
  observe: async (world) => {
    const { error } = await (await world.vmm()).request(8, fields(20, 0x21, MSIX, 1, 1));
    expect(error).toBe(0);
    const count = world.server.eventfds.count(MSIX);
    if (world.signals() === 1 && count === 1) return 'there';
    return count === 0 ? 'gone' : `${count} eventfds`;
  },
  trespass: async ({ control }) => {
    await refused(control, EPERM, 8, fields(20, 0x21, MSIX, 0, 0));
    await refused(control, EPERM, 8, fields(20, 0x24, MSIX, 1, 1));
  },
};

const masks: PlainRow = {
  owner: 'main connection',
  arrange: () =>
    arranged(async (world) => {
      await world.giveEventfd(world.main, 0, 0);
      expect(await world.main.request(8, fields(20, 0x09, 0, 0, 1))).toMatchObject({ error: 0 });
    }),
  observe: async (world) => {
    await world.run();
    if (world.main.closed) await world.giveEventfd(await world.vmm(), 0, 0);
    await world.writeRegion(0, 0x18, 0);
    if (world.signals() > 0) return 'gone';
    const { error } = await world.main.request(8, fields(20, 0x11, 0, 0, 1));
    return error === 0 && world.signals() === 1 ? 'there' : 'no interrupt at all';
  },
  trespass: ({ control }) => refused(control, EPERM, 8, fields(20, 0x11, 0, 0, 1)),
};

/** GET_REGION_INFO of the memory BAR; its fd, if it brings one, is the caller's. */
function memoryBarInfo(client: RawClient) {
  return client.request(5, fields(64, 0, 2, 0, 0n, 0n));
}

const regionFds: PlainRow = {
  owner: 'VMM',
  arrange: () =>
    arranged(async (world) => {
      const { fds } = await memoryBarInfo(world.main);
      const buffer = native.map(fds[0] ?? -1, 0, 65536, 3);
      for (const fd of fds) native.close(fd);
      if (typeof buffer === 'number') throw new Error(`mmap: ${buffer}`);
      world.mapping = new Uint8Array(buffer);
      world.cleanup(() => native.unmap(buffer));
    }),
  observe: async ({ mapping, device }) => {
    if (mapping === null) return 'never mapped';
    mapping[5] = 0x5a;
    device.state.ram.bytes[6] = 0xa5;
    const seen = [device.state.ram.bytes[5], mapping[6]];
    return seen[0] === 0x5a && seen[1] === 0xa5 ? 'there' : 'gone';
  },
  trespass: async ({ control }) => {
    const { fds, payload } = await memoryBarInfo(control);
    expect(fds).toHaveLength(0);
    expect(Buffer.from(payload).readUInt32LE(4), 'readable and writable, but not mappable').toBe(3);
  },
};

/** A log with a page that is dirty, started by the VMM or by the controller. */
function dmaLog(owner: 'main' | 'control'): PlainRow {
  return {
    owner: `${owner} connection`,
    arrange: () =>
      arranged(async (world) => {
        const start = fields(64, SET | 6, PAGE, 0, 0);
        expect(await world[owner].request(16, start)).toMatchObject({ error: 0 });
        world.server.memory.dirtyLog.mark(IOVA + PAGE, 1);
      }),
    observe: async (world) => {
      const reply = await (await world.controller()).request(16, fields(64, GET | 8, IOVA, 4n * PAGE, PAGE));
      if (reply.error !== 0) return world.server.logging.active ? `errno ${reply.error}` : 'gone';
      return reply.payload[32] === 0b10 ? 'there' : 'forgotten';
    },
    trespass: async (world) => {
      const other = world[owner === 'main' ? 'control' : 'main'];
      await refused(other, EBUSY, 16, fields(8, SET | 7));
      await refused(other, EBUSY, 16, fields(64, SET | 6, PAGE, 0, 0));
    },
  };
}

/** Registers at a place each, with the value that software gives them. */
type Places = (
  world: World,
) => readonly (readonly [region: number, offset: number, size: number, value: number])[];

/** Device state that is seen in registers: neither connection owns it, and the control socket writes none of it. */
function registers(places: Places): PlainRow {
  return {
    owner: 'device',
    arrange: () =>
      arranged(async (world) => {
        for (const [region, offset, size, value] of places(world)) {
          expect(world.peek(region, offset, size), 'is not what it is at first').not.toBe(value);
          await world.writeRegion(region, offset, value, size);
        }
      }),
    observe: async (world) => {
      const fresh = await World.open();
      const sights = places(world).map(([region, offset, size, value]) => {
        const now = world.peek(region, offset, size);
        if (now === value) return 'there';
        return now === fresh.peek(region, offset, size) ? 'reset' : `0x${now.toString(16)}`;
      });
      fresh.close();
      return [...new Set(sights)].join(' and ');
    },
    trespass: async (world) => {
      for (const [region, offset, size] of places(world)) {
        await refused(world.control, EPERM, 10, world.writeOf(region, offset, 0, size));
      }
      await outlives(world);
    },
  };
}

/** Belongs to the device: it outlives both connections. */
async function outlives(world: World): Promise<void> {
  await world.disconnectControl();
  await world.disconnectMain();
}

const msixTable = (world: World): number => world.peek(CONFIG, world.capability(0x11) + 4) & 7;

const header = registers(() => [
  [CONFIG, 0x10, 4, 0xfebf_0000],
  [CONFIG, 0x18, 4, 0xfec0_0000],
  [CONFIG, 0x04, 2, 0x0506],
  [CONFIG, 0x3c, 1, 0x0b],
]);

const messageInterrupts = registers((world) => [
  [CONFIG, world.capability(0x05) + 2, 2, world.peek(CONFIG, world.capability(0x05) + 2, 2) | 0x11],
  [CONFIG, world.capability(0x05) + 4, 4, 0xfee0_0000],
  [CONFIG, world.capability(0x11) + 2, 2, 0xc003],
  [msixTable(world), 0x10, 4, 0xfee0_1000],
  [msixTable(world), 0x1c, 4, 0],
]);

/** INTx asserted, and then MSI-X enabled, with a vector raised that nothing signals. */
const interrupts: PlainRow = {
  owner: 'device',
  arrange: () =>
    arranged(async (world) => {
      await world.writeRegion(0, 0x18, 0);
      await world.writeRegion(CONFIG, world.capability(0x11) + 2, 0x8003, 2);
      await world.writeRegion(0, 0x18, 2);
    }),
  observe: async (world) => {
    const { level, pendingMsix } = world.server.device.inspect().interrupts;
    if (level && pendingMsix.join() === '2') return 'there';
    return level || pendingMsix.length > 0 ? `level ${level}, pending ${pendingMsix}` : 'reset';
  },
  trespass: async (world) => {
    await refused(world.control, EPERM, 10, world.writeOf(0, 0x18, 1));
    await outlives(world);
  },
};

const declaredFields: PlainRow = {
  owner: 'device',
  arrange: () => arranged((world) => world.writeRegion(0, 0x04, 0x1234)),
  observe: async ({ device: { state } }) => {
    if (state.scratch === 0x1234) return 'there';
    return state.scratch === 0 && state.counter === 7 ? 'reset' : `0x${state.scratch.toString(16)}`;
  },
  trespass: async (world) => {
    await refused(world.control, EPERM, 10, world.writeOf(0, 0x04, 1));
    await outlives(world);
  },
};

const declaredMemory: PlainRow = {
  owner: 'device',
  arrange: () => arranged((world) => world.writeRegion(2, 0x8000, 0x1234)),
  observe: async ({ device: { state } }) => {
    const value = Buffer.from(state.ram.bytes).readUInt32LE(0x8000);
    if (value === 0x1234) return 'there';
    return value === 0 ? 'reset' : `0x${value.toString(16)}`;
  },
  trespass: async (world) => {
    await refused(world.control, EPERM, 10, world.writeOf(2, 0x8000, 1));
    await outlives(world);
  },
};

/** The rows whose state is a thing that is there or not, by their name in the table. */
export const plainRows: ReadonlyMap<string, PlainRow> = new Map([
  ['negotiated limits of main', mainLimits],
  ['negotiated limits of control', controlLimits],
  ['DMA maps', dmaMaps],
  ['eventfds of SET_IRQS', eventfds],
  ['masks of SET_IRQS', masks],
  ['region fds given out', regionFds],
  ['DMA log that the VMM started', dmaLog('main')],
  ['DMA log that a controller started', dmaLog('control')],
  ['BAR values, COMMAND, INTERRUPT_LINE', header],
  ['MSI and MSI-X control, table', messageInterrupts],
  ['INTx level, pending bits', interrupts],
  ['declared fields', declaredFields],
  ['declared memory', declaredMemory],
]);
