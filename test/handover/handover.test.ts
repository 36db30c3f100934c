import { afterEach, describe, expect, it } from 'vitest';
import { memory, PciDevice, u32 } from '../../src/device/index.ts';
import { takeOver } from '../../src/handover/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import {
  fields,
  RawClient as Raw,
  type RawClient,
  type RawMessage,
  rawMessage,
  versionPayload,
} from '../helpers/raw-client.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { until } from '../helpers/until.ts';
import { Cmd, giveVectors, mapGuest, native, readRegister, registerWrite, World } from './world.ts';

const SCRATCH = 0x04;
const DMA_ADDRESS = 0x0c;
const DMA_LENGTH = 0x10;
const DMA_DONE = 0x14;
const RAISE = 0x18;

let world: World;
const leftOver: (() => void)[] = [];
afterEach(() => {
  for (const close of leftOver.splice(0)) close();
  world.close();
});

function begin(...args: ConstructorParameters<typeof World>): World {
  world = new World(...args);
  return world;
}

describe('a device that is handed over', () => {
  it('keeps its state, its configuration space, its memory maps, interrupts and clients', async () => {
    const { vmm, client } = await connected();
    const guest = await mapGuest(client, 0x10000n, 0x10000);
    leftOver.push(guest.close);
    guest.bytes.set([1, 2, 3, 4], 0x100);
    const events = await giveVectors(client, 4);
    leftOver.push(() => events.map((fd) => native.close(fd)));
    await client.request(Cmd.WRITE, registerWrite(SCRATCH, 0xabcd));
    // COMMAND of the configuration space: bus master.
    await client.request(Cmd.WRITE, fields(4n, 7, 2, Uint8Array.of(6, 0)));

    await vmm.handOver(new TestDevice());

    expect(await readRegister(client, SCRATCH)).toBe(0xabcd);
    const command = await client.request(Cmd.READ, fields(4n, 7, 2));
    expect(command.payload[16]).toBe(6);
    client.post(Cmd.WRITE, registerWrite(DMA_ADDRESS, 0x10100));
    client.post(Cmd.WRITE, registerWrite(DMA_LENGTH, 4));
    await expectEventually(client, DMA_DONE, 1);
    expect(native.eventfdRead(events[1] ?? -1)).toBe(1);
    await client.request(Cmd.WRITE, registerWrite(RAISE, 3));
    expect(native.eventfdRead(events[3] ?? -1)).toBe(1);
    expect(vmm.reported).toEqual([]);
  });

  it('keeps the very memory that a client has mapped', async () => {
    const { vmm, client } = await connected();
    const info = await client.request(Cmd.REGION_INFO, fields(64, 0, 2, 0, 0n, 0n));
    const [fd = -1] = info.fds;
    leftOver.push(() => native.close(fd));
    const buffer = native.map(fd, 0, 4096, 3);
    if (typeof buffer === 'number') throw new Error('mmap');
    const mapped = new Uint8Array(buffer);
    leftOver.push(() => native.unmap(buffer));
    mapped[5] = 77;

    await vmm.handOver(new TestDevice());

    const read = async (): Promise<number | undefined> =>
      (await client.request(Cmd.READ, fields(5n, 2, 1))).payload[16];
    expect(await read()).toBe(77);
    mapped[5] = 78;
    expect(await read()).toBe(78);
    await client.request(Cmd.WRITE, fields(5n, 2, 1, Uint8Array.of(79)));
    expect(mapped[5]).toBe(79);
  });

  it('tells nobody: the client receives nothing that it has not asked for', async () => {
    const { vmm, client } = await connected();
    await vmm.handOver(new TestDevice());
    await vmm.handOver(new TestDevice());
    expect(await client.receives(() => true, 20)).toBe(false);
    expect(client.closed).toBe(false);
    expect(await readRegister(client, 0)).toBe(0x600df00d);
  });

  it('listens on: others connect to the same paths, and the files go with the last server', async () => {
    const { vmm } = await connected();
    await vmm.handOver(new TestDevice());
    const control = vmm.track(await Raw.open(vmm.controlPath));
    expect((await control.request(4, fields(16, 0, 0, 0))).error).toBe(0);
  });

  it('goes on with a masked INTx that waits to be unmasked', async () => {
    const { vmm, client } = await connected();
    const intx = native.eventfd(0);
    leftOver.push(() => native.close(intx));
    await client.request(Cmd.SET_IRQS, fields(20, 0x24, 0, 0, 1), [intx]);
    await client.request(Cmd.WRITE, registerWrite(RAISE, 0));
    expect(native.eventfdRead(intx)).toBe(1);
    await vmm.handOver(new TestDevice());
    expect(native.eventfdRead(intx), 'masked by itself').toBeLessThan(0);
    await client.request(Cmd.SET_IRQS, fields(20, 0x11, 0, 0, 1));
    expect(native.eventfdRead(intx), 'still asserted').toBe(1);
  });

  it('goes on with a message of which any part has come, and with the descriptors of one that nobody has read', async () => {
    const { vmm, client } = await connected();
    const memfd = native.memfd('guest', 8192, true);
    leftOver.push(() => native.close(memfd));
    const map = (id: number, iova: bigint): Buffer =>
      rawMessage(id, Cmd.DMA_MAP, fields(32, 3, 0n, iova, 4096n));
    for (const [i, cut] of [1, 7, 15, 16, 17, 40].entries()) {
      const message = map(1000 + i, 0x100000n + BigInt(i) * 0x1000n);
      client.send(message.subarray(0, cut), [memfd]);
      await vmm.handOver(new TestDevice());
      client.send(message.subarray(cut));
      expect((await client.reply(1000 + i)).error, `cut after ${cut}`).toBe(0);
    }
    expect(vmm.running.server.memory.mapCount).toBe(6);
  });

  it('answers a request that was on its way, and has a message answered by the client that the new server asked for', async () => {
    const { vmm, client } = await connected();
    await client.request(Cmd.DMA_MAP, fields(32, 3, 0n, 0x5000n, 4096n));
    for (let round = 1; round <= 3; round += 1) {
      client.post(Cmd.WRITE, registerWrite(DMA_ADDRESS, 0x5000));
      client.post(Cmd.WRITE, registerWrite(DMA_LENGTH, 8));
      const asked = await client.next(isDmaRead);
      const moved = vmm.handOver(new TestDevice());
      const id = client.post(Cmd.READ, fields(0n, 0, 4));
      client.send(dmaReply(asked, round));
      await moved;
      expect((await client.reply(id)).error).toBe(0);
      await expectEventually(client, DMA_DONE, round);
      const first = await client.request(Cmd.READ, fields(0n, 2, 1));
      expect(first.payload[16]).toBe(round);
    }
  });

  it('loses and doubles no posted write of a client that never pauses', async () => {
    const { vmm, client } = await connected();
    const events = await giveVectors(client, 4);
    leftOver.push(() => events.map((fd) => native.close(fd)));
    let sent = 0;
    let over = false;
    const load = (async () => {
      while (!over) {
        // Posted: no reply. Each raises an interrupt, which an eventfd counts.
        for (let i = 0; i < 20; i += 1)
          client.send(rawMessage(sent + i, Cmd.WRITE, registerWrite(RAISE, 2), 0x10));
        sent += 20;
        expect(await readRegister(client, 0)).toBe(0x600df00d);
      }
    })();
    for (let i = 0; i < 15; i += 1) await vmm.handOver(new TestDevice());
    over = true;
    await load;
    await readRegister(client, 0);
    expect(native.eventfdRead(events[2] ?? -1)).toBe(sent);
    expect(vmm.reported).toEqual([]);
  });

  it('goes on with a client that has only connected, or has said a part of VERSION', async () => {
    const vmm = begin(new TestDevice());
    const hello = rawMessage(1, 1, versionPayload(0, 0));
    for (const cut of [0, 5, 16, 40]) {
      const client = vmm.track(Raw.connect(vmm.socketPath));
      if (cut > 0) client.send(hello.subarray(0, cut));
      await until(() => vmm.running.server.clients === 1);
      await vmm.handOver(new TestDevice());
      client.send(hello.subarray(cut));
      expect((await client.reply(1)).error, `after ${cut} bytes`).toBe(0);
      expect(await readRegister(client, 0)).toBe(0x600df00d);
      client.close();
      await until(() => vmm.running.server.clients === 0);
    }
  });

  it('is handed over without anybody connected, too', async () => {
    const vmm = begin(new TestDevice());
    await vmm.handOver(new TestDevice());
    expect(await readRegister(await vmm.vmm(), 0)).toBe(0x600df00d);
  });

  it('is the same device to controllers', async () => {
    const { vmm } = await connected();
    const { instance } = vmm.running.server.claims;
    await vmm.handOver(new TestDevice());
    expect(vmm.running.server.claims.instance).toBe(instance);
  });

  it('leaves no descriptor behind in the process that had it', async () => {
    const { vmm, client } = await connected();
    const guest = await mapGuest(client, 0x10000n, 0x10000);
    leftOver.push(guest.close);
    await vmm.handOver(new TestDevice());
    const before = openFds().length;
    for (let i = 0; i < 3; i += 1) await vmm.handOver(new TestDevice());
    expect(openFds().length).toBe(before);
  });

  it('reads the state of an older version of its code', async () => {
    const vmm = begin(new Counter(1));
    const client = await vmm.vmm();
    await client.request(Cmd.WRITE, registerWrite(0, 41));
    await vmm.handOver(new Counter(2));
    expect(await readRegister(client, 0)).toBe(41);
    expect(await readRegister(client, 4)).toBe(5);
  });
});

describe('a device that stays where it is', () => {
  it.each([
    ['another device', () => new Counter(1), /another one: its kind is test/],
    ['a program that shares less memory', () => new Unshared(), /memory ram of 65536 bytes/],
  ])('is not taken over by %s', async (_what, make, why) => {
    const { vmm, client } = await connected();
    await expect(vmm.handOver(make())).rejects.toMatchObject({ code: 'ERR_HANDOVER_REFUSED', message: why });
    expect(await readRegister(client, 0)).toBe(0x600df00d);
    expect(vmm.running.server.migration.state, 'it was never stopped').toBe(2);
    await vmm.handOver(new TestDevice());
    expect(await readRegister(client, 0)).toBe(0x600df00d);
  });

  it('is not given to older code', async () => {
    const vmm = begin(new Counter(2));
    const refusal = { code: 'ERR_HANDOVER_REFUSED', message: /version 2, and this program reads 1 to 1/ };
    await expect(vmm.handOver(new Counter(1))).rejects.toMatchObject(refusal);
  });

  it('is refused while a migration has it', async () => {
    const { vmm } = await connected();
    const control = vmm.track(await Raw.open(vmm.controlPath));
    await control.request(16, fields(16, 0x20002, 1, 0));
    const refusal = { code: 'ERR_HANDOVER_REFUSED', message: /RUNNING|drives/ };
    await expect(vmm.handOver(new TestDevice())).rejects.toMatchObject(refusal);
  });

  it('is refused with the reason that whoever runs the server has', async () => {
    const vmm = begin(new TestDevice(), {}, { obstacle: 'its line is a terminal' });
    await expect(vmm.handOver(new TestDevice())).rejects.toMatchObject({ message: /its line is a terminal/ });
  });

  it('is refused by a server that does not hand over', async () => {
    const { vmm } = await connected();
    vmm.running.server.onHandover = null;
    const refusal = { code: 'ERR_HANDOVER_REFUSED', message: /hands nothing over/ };
    await expect(vmm.handOver(new TestDevice())).rejects.toMatchObject(refusal);
  });

  it('is told of when nobody listens', async () => {
    begin(new TestDevice());
    const options = { controlPath: `${world.controlPath}.not` };
    await expect(takeOver(new TestDevice(), options)).rejects.toMatchObject({ code: 'ERR_SOCKET' });
  });

  it('goes on when the code that is to take it over refuses its state, and frozen for a moment only', async () => {
    const { vmm, client } = await connected();
    await client.request(Cmd.WRITE, registerWrite(SCRATCH, 5));
    const before = openFds();
    await expect(vmm.handOver(new Picky())).rejects.toMatchObject({ message: /5 is not to my taste/ });
    expect(await readRegister(client, SCRATCH)).toBe(5);
    await until(() => vmm.kept.length === 1);
    await until(() => openFds().length <= before.length);
    expect(openFds(), 'what was on its way is closed').toEqual(before);
    await vmm.handOver(new TestDevice());
    expect(await readRegister(client, SCRATCH)).toBe(5);
  });
});

/** Versions of a device's code: the second knows a field more. */
class Counter extends PciDevice {
  override readonly identity = { kind: 'counter', vendor: 0x1af4, device: 0x10f5, classCode: 0xff0000 };
  readonly state;
  override readonly bars;
  override readonly interrupts = {};

  constructor(version: 1 | 2) {
    super();
    const shape = { ticks: u32() };
    const grown = { ...shape, step: u32({ initial: 5, since: 2 }) };
    const registers = (step: () => number) => ({
      0: this.registers(4096, {
        0: {
          read: () => this.state.ticks,
          write: (value: number) => {
            this.state.ticks = value;
          },
        },
        4: { read: step, write: () => {} },
      }),
    });
    if (version === 1) {
      this.state = this.migratable(shape);
      this.bars = registers(() => 0);
    } else {
      const state = this.migratable(grown, { version: 2 });
      this.state = state;
      this.bars = registers(() => state.step);
    }
  }
}

/** The test's device by a program that shares no memory. */
class Unshared extends PciDevice {
  override readonly identity = new TestDevice().identity;
  readonly state = this.migratable({ ram: memory(64 * 1024) });
  override readonly bars = { 2: this.memoryBar(this.state.ram) };
  override readonly interrupts = {};
}

/** Refuses a value. */
class Picky extends TestDevice {
  protected override onTakeOver(): void {
    if (this.state.scratch === 5) throw new Error('5 is not to my taste');
  }
}

async function connected(): Promise<{ vmm: World; client: RawClient }> {
  const vmm = begin(new TestDevice());
  return { vmm, client: await vmm.vmm() };
}

/** Waits until a register has a value. */
async function expectEventually(client: RawClient, offset: number, value: number): Promise<void> {
  for (let i = 0; i < 1000; i += 1) if ((await readRegister(client, offset)) === value) return;
  expect(await readRegister(client, offset)).toBe(value);
}

function isDmaRead({ command, flags }: RawMessage): boolean {
  return command === 11 && (flags & 0xf) === 0;
}

/** The answer to a DMA_READ: bytes that all have the same value. */
function dmaReply({ id, payload }: RawMessage, value: number): Buffer {
  const count = Number(Buffer.from(payload).readBigUInt64LE(8));
  return rawMessage(id, 11, Buffer.concat([payload, Buffer.alloc(count, value)]), 1);
}
