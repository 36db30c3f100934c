import { afterEach, describe, expect, it } from 'vitest';
import { KiB, memory, PciDevice, u32, writeOnly } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields, QEMU_VERSION_JSON, type RawClient, rawMessage } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { until } from '../helpers/until.ts';
import { subRegions } from './bell-device.ts';
import { setState } from './migration-driver.ts';
import { testServers } from './test-servers.ts';

const POSTED = 0x10;
const WRITE = 10;
const READ = 9;
const MULTI = 15;
const SCRATCH = 4;
const COUNTER = 8;
const { EINVAL } = Errno;
const native = loadNative();
const { world, serve } = testServers();

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const run of cleanups.splice(0)) run();
});

const written = (at: number, value: number, region = 0): Buffer => fields(BigInt(at), region, 4, value);

/** What a register reads: the reply behind everything that was posted. */
async function register(client: RawClient, at: number): Promise<number> {
  const { error, payload } = await client.request(READ, fields(BigInt(at), 0, 4));
  expect(error).toBe(0);
  return Buffer.from(payload).readUInt32LE(16);
}

describe('a posted write', () => {
  it('is carried out in its place, and nothing comes back', async () => {
    const { main } = await world(new TestDevice());
    const posted = main.post(WRITE, written(SCRATCH, 0x1234), POSTED);
    expect(await register(main, SCRATCH)).toBe(0x1234);
    expect(await main.receives(({ id }) => id === posted, 20)).toBe(false);
  });

  it.each([
    ['beyond its region', written(4094, 1)],
    ['of a region that is not there', written(0, 1, 3)],
    ['of a region that no device has', written(0, 1, 9)],
    ['with other bytes than it says', fields(4n, 0, 8, 1)],
    ['too short to be one', fields(4n)],
  ])('%s is refused without a word, and the connection goes on', async (_, payload) => {
    const { main } = await world(new TestDevice());
    main.post(WRITE, payload, POSTED);
    expect(await register(main, SCRATCH)).toBe(0);
    expect(await main.receives(() => true, 20)).toBe(false);
  });

  it('may come many at a time: all that comes back is the reply behind them', async () => {
    const { main } = await world(new TestDevice());
    const writes = Array.from({ length: 2000 }, (_, i) => rawMessage(i, WRITE, written(SCRATCH, i), POSTED));
    const read = rawMessage(7777, READ, fields(BigInt(SCRATCH), 0, 4));
    await main.stream(Buffer.concat([...writes, read]));
    const reply = await main.next();
    expect([reply.id, Buffer.from(reply.payload).readUInt32LE(16)]).toEqual([7777, 1999]);
    expect(await main.receives(() => true, 20)).toBe(false);
  });
});

/** A REGION_WRITE_MULTI: each write is an offset, a region, a count and 8 bytes of data. */
function multi(
  ...writes: readonly (readonly [at: number, region: number, count: number, data: bigint])[]
): Buffer {
  return fields(
    BigInt(writes.length),
    ...writes.flatMap(([at, region, count, data]) => [BigInt(at), region, count, data]),
  );
}

describe('REGION_WRITE_MULTI', () => {
  it('carries out all of its writes in order, and says how many there were', async () => {
    const { main, device } = await world(new TestDevice());
    const payload = multi(
      [SCRATCH, 0, 4, 0xffff_ffff_0000_0001n],
      [0x100, 2, 8, 0x8877_6655_4433_2211n],
      [SCRATCH, 0, 4, 2n],
      [COUNTER + 1, 0, 1, 0xffn],
      [0x110, 2, 3, 0xff_ccbb_aan],
    );
    const reply = await main.request(MULTI, payload);
    expect([reply.error, Buffer.from(reply.payload)]).toEqual([0, fields(5n)]);
    expect([await register(main, SCRATCH), await register(main, COUNTER)]).toEqual([2, 0xff07]);
    const ram = Buffer.from(device.state.ram.bytes);
    expect(ram.subarray(0x100, 0x108)).toEqual(fields(0x8877_6655_4433_2211n));
    expect([...ram.subarray(0x110, 0x114)]).toEqual([0xaa, 0xbb, 0xcc, 0]);
  });

  it('may be empty', async () => {
    const { main } = await world(new TestDevice());
    const reply = await main.request(MULTI, fields(0n));
    expect([reply.error, Buffer.from(reply.payload)]).toEqual([0, fields(0n)]);
  });

  it('carries out none of its writes when one of them may not be', async () => {
    const { main } = await world(new TestDevice());
    for (const bad of [
      [4096, 0, 4, 0n],
      [0, 3, 4, 0n],
      [0, 9, 4, 0n],
    ] as const) {
      const reply = await main.request(MULTI, multi([SCRATCH, 0, 4, 5n], bad));
      expect([reply.error, reply.payload.length]).toEqual([EINVAL, 0]);
      expect(await register(main, SCRATCH)).toBe(0);
    }
  });

  it('may be posted', async () => {
    const { main } = await world(new TestDevice());
    main.post(MULTI, multi([SCRATCH, 0, 4, 1n], [SCRATCH, 0, 4, 9n]), POSTED);
    main.post(MULTI, multi([SCRATCH, 0, 4, 3n], [0, 9, 4, 3n]), POSTED);
    expect(await register(main, SCRATCH)).toBe(9);
    expect(await main.receives(() => true, 20)).toBe(false);
  });

  it('waits while the device is held, all of it', async () => {
    const { main, device, control } = await world(new TestDevice());
    await setState(control, MigrationState.STOP);
    const id = main.post(MULTI, multi([SCRATCH, 0, 4, 1n], [0x100, 2, 4, 2n]));
    await settle(20);
    expect([device.state.scratch, device.state.ram.bytes[0x100]]).toEqual([0, 0]);
    await setState(control, MigrationState.RUNNING);
    expect((await main.reply(id)).error).toBe(0);
    expect([device.state.scratch, device.state.ram.bytes[0x100]]).toEqual([1, 2]);
  });

  it('is refused to a client that did not ask for it', async () => {
    const main = await serve(new TestDevice()).main(
      QEMU_VERSION_JSON.replace(', "write_multiple": true', ''),
    );
    expect(await main.request(MULTI, multi([SCRATCH, 0, 4, 1n]))).toMatchObject({ error: EINVAL });
    expect(await register(main, SCRATCH)).toBe(0);
  });
});

/** Places in the shared memory: how many numbers its client has put there, how many are summed up, their sum, they. */
const At = { HEAD: 0, TAIL: 4, SUM: 8, NUMBERS: 64 } as const;
const SLOTS = 256;

/** Adds up numbers that its client leaves in memory that both have mapped. */
class Summer extends PciDevice {
  override readonly identity = { kind: 'summer', vendor: 0x1af4, device: 0x10f6, classCode: 0xff0000 };
  override readonly interrupts = { msix: 1 };
  readonly state = this.migratable({ period: u32(), ring: memory(4 * KiB) });
  override readonly bars = {
    0: this.registers(4 * KiB, { 0: writeOnly(() => this.kick()) }, { doorbells: [{ offset: 0, size: 4 }] }),
    2: this.memoryBar(this.state.ring, { mmap: true }),
  };

  constructor({ polling = false } = {}) {
    super();
    if (polling) this.every(1, () => this.#look());
  }

  protected override work(): void {
    this.#look();
  }

  #look(): void {
    const words = new DataView(this.state.ring.bytes.buffer, this.state.ring.bytes.byteOffset);
    const head = words.getUint32(At.HEAD, true);
    let tail = words.getUint32(At.TAIL, true);
    if (tail === head) return;
    for (; tail !== head; tail += 1) {
      const number = words.getUint32(At.NUMBERS + 4 * (tail % SLOTS), true);
      words.setUint32(At.SUM, words.getUint32(At.SUM, true) + number, true);
    }
    words.setUint32(At.TAIL, tail, true);
    this.raise(0);
  }
}

describe('a ring in the memory of a BAR that its client has mapped', () => {
  /** A client with the memory mapped, an interrupt, and the eventfd of the doorbell. */
  async function mapped(polling = false) {
    const { main, control, device } = await world(new Summer({ polling }));
    const { fds } = await main.request(5, fields(64, 0, 2, 0, 0n, 0n));
    const buffer = native.map(fds[0] ?? -1, 0, 4 * KiB, 3);
    if (typeof buffer === 'number') throw new Error(`mmap: errno ${-buffer}`);
    const bells = await main.request(6, fields(64, 0, 0, 0));
    const eventfd = native.eventfd(0);
    const bell = bells.fds[subRegions(bells.payload)[0]?.fd ?? -1] ?? -1;
    expect(await main.request(8, fields(20, 0x24, 2, 0, 1), [eventfd])).toMatchObject({ error: 0 });
    cleanups.push(() => {
      native.unmap(buffer);
      for (const fd of [...fds, ...bells.fds, eventfd]) native.close(fd);
    });
    const words = new DataView(buffer);
    const get = (at: number): number => words.getUint32(at, true);
    return {
      main,
      control,
      device,
      bell,
      get,
      put: (...numbers: readonly number[]): void => {
        const head = get(At.HEAD);
        for (const [i, number] of numbers.entries()) {
          words.setUint32(At.NUMBERS + 4 * ((head + i) % SLOTS), number, true);
        }
        words.setUint32(At.HEAD, head + numbers.length, true);
      },
      interrupted: () => until(() => native.eventfdRead(eventfd) > 0),
    };
  }

  it.each([
    ['a write', (client: RawClient) => void client.post(WRITE, written(0, 1))],
    ['a posted write', (client: RawClient) => void client.post(WRITE, written(0, 1), POSTED)],
    ['REGION_WRITE_MULTI', (client: RawClient) => void client.post(MULTI, multi([0, 0, 4, 1n]))],
    ['an eventfd', (_client: RawClient, bell: number) => void native.eventfdSignal(bell, 1)],
  ])('is looked at after a kick by %s', async (_, kick) => {
    const { main, bell, get, put, interrupted } = await mapped();
    let sum = 0;
    for (let round = 1; round <= 100; round += 1) {
      put(round, 2 * round, 3 * round);
      sum += 6 * round;
      kick(main, bell);
      await interrupted();
      expect([get(At.SUM), get(At.TAIL)]).toEqual([sum, 3 * round]);
    }
  });

  it('needs no kick for a device that looks at it from time to time', async () => {
    const { get, put, interrupted } = await mapped(true);
    put(4, 5, 6);
    await interrupted();
    expect([get(At.SUM), get(At.TAIL)]).toEqual([15, 3]);
  });

  it('is left alone while the device is held, and looked at when it runs again', async () => {
    const { main, control, bell, put, get, interrupted } = await mapped();
    await setState(control, MigrationState.STOP);
    put(7);
    native.eventfdSignal(bell, 1);
    main.post(WRITE, written(0, 1), POSTED);
    await settle(20);
    expect(get(At.TAIL)).toBe(0);
    await setState(control, MigrationState.RUNNING);
    await interrupted();
    expect([get(At.SUM), get(At.TAIL)]).toEqual([7, 1]);
  });
});
