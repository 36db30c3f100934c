import { afterEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../src/client/index.ts';
import { PciDevice } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { answerDma, dmaOf, isCommand } from './dma-device.ts';
import { testServers } from './test-servers.ts';

const { RUNNING, PRE_COPY, PRE_COPY_P2P, STOP_COPY } = MigrationState;
const native = loadNative();
const { world } = testServers();
const PAGE = 4096;
const BASE = 0x10000n;

/** Interrupts by INTx, counts reads of its BAR, writes to guest memory when it is told. */
class Line extends PciDevice {
  override readonly identity = { kind: 'line', vendor: 0x1af4, device: 0x10f5, classCode: 0xff0000 };
  reads = 0;
  override readonly interrupts = { intx: true };
  override readonly bars = {
    0: this.callbacks(PAGE, {
      read: (_offset, target, at, length) => {
        this.reads += 1;
        target.fill(0xff, at, at + length);
      },
      write: () => {},
    }),
  };
  readonly state = this.migratable({});

  interrupt(): void {
    this.raise(0);
  }

  put(iova: bigint, bytes: Uint8Array): Promise<void> {
    return Promise.resolve(this.dma.write(iova, bytes));
  }
}

const clients: DeviceClient[] = [];
const fds: number[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  for (const fd of fds.splice(0)) native.close(fd);
});

/** A device with a VMM that has given it an INTx eventfd and a few pages of memory, and a controller. */
async function line(pages = 4) {
  const made = await world(new Line());
  const eventfd = native.eventfd(0);
  const guest = native.memfd('guest', pages * PAGE, true);
  fds.push(eventfd, guest);
  await made.main.request(8, fields(20, 0x24, 0, 0, 1), [eventfd]);
  await made.main.request(2, fields(32, 3, 0n, BASE, BigInt(pages * PAGE)), [guest]);
  const control = await DeviceClient.connect(made.served.controlPath);
  clients.push(control);
  const signals = (): number => {
    const count = native.eventfdRead(eventfd);
    return Number(count) < 0 ? 0 : Number(count);
  };
  const unmask = () => made.main.request(8, fields(20, 0x11, 0, 0, 1));
  return { ...made, controller: control, eventfd, signals, unmask };
}

const read = fields(0n, 0, 1);

describe('interrupts that are withheld', () => {
  it('stay pending although the device runs, and are delivered when it is set running again', async () => {
    const { device, controller, signals } = await line();
    await controller.setMigrationState(PRE_COPY);
    expect(await controller.switchover({ do: 'WITHHOLD' })).toMatchObject({ withheld: true, intx: true });
    device.interrupt();
    await controller.setMigrationState(PRE_COPY_P2P);
    await settle(5);
    expect(signals()).toBe(0);
    await controller.setMigrationState(STOP_COPY);
    await controller.setMigrationState(RUNNING);
    expect(signals()).toBe(1);
    expect(await controller.switchover({ do: 'QUERY' })).toMatchObject({
      withheld: false,
      outstanding: true,
    });
  });

  it('are delivered when who withheld them is gone', async () => {
    const { device, controller, signals } = await line();
    await controller.switchover({ do: 'WITHHOLD' });
    device.interrupt();
    expect(signals()).toBe(0);
    controller.close();
    await expect.poll(signals).toBe(1);
  });

  it('are delivered after a reset as before', async () => {
    const { device, controller, signals, main } = await line();
    await controller.switchover({ do: 'WITHHOLD' });
    await main.request(13);
    device.interrupt();
    expect(signals()).toBe(1);
    expect(await controller.switchover({ do: 'QUERY' })).toMatchObject({ withheld: false });
  });

  it('leave an INTx outstanding until the VMM says that it is served', async () => {
    const { device, controller, signals, unmask } = await line();
    device.interrupt();
    expect(await controller.switchover({ do: 'WITHHOLD' })).toMatchObject({ outstanding: true });
    await unmask();
    expect(signals()).toBe(1);
    expect(await controller.switchover({ do: 'QUERY' })).toMatchObject({ outstanding: false });
  });
});

describe('a shielded byte', () => {
  it('is read as 0 and does not reach the device; what lies beside it does', async () => {
    const { device, controller, main } = await line();
    await controller.switchover({ do: 'SHIELD', region: 0, offset: 0n });
    expect([...(await main.request(9, read)).payload.subarray(16)]).toEqual([0]);
    expect(device.reads).toBe(0);
    await main.request(9, fields(1n, 0, 1));
    expect(device.reads).toBe(1);
  });

  it("is the device's again when interrupts are", async () => {
    const { device, controller, main } = await line();
    await controller.setMigrationState(PRE_COPY);
    await controller.switchover({ do: 'SHIELD', region: 0, offset: 0n });
    await controller.setMigrationState(RUNNING);
    expect([...(await main.request(9, read)).payload.subarray(16)]).toEqual([0xff]);
    expect(device.reads).toBe(1);
  });

  it.each([
    ['beyond the region', 0, BigInt(PAGE)],
    ['in configuration space', 7, 0n],
    ['in a region that does not exist', 99, 0n],
  ])('is refused %s', async (_, region, offset) => {
    const { controller } = await line();
    await expect(controller.switchover({ do: 'SHIELD', region, offset })).rejects.toMatchObject({
      errno: Errno.EINVAL,
    });
  });
});

describe('pages that are touched', () => {
  it('are those that the device has written by mapped memory, each with what is in it', async () => {
    const { device, controller, main, server } = await line();
    await controller.startDmaLogging(BigInt(PAGE), []);
    await device.put(BASE + 1n, Uint8Array.of(1, 2, 3));
    await device.put(BASE + BigInt(2 * PAGE), Uint8Array.of(7));
    await controller.setMigrationState(STOP_COPY);
    const touching = controller.switchover({ do: 'TOUCH' });
    const seen: [number, number[]][] = [];
    for (let i = 0; i < 2; i += 1) {
      const message = await main.next(isCommand);
      const { address, data } = dmaOf(message);
      seen.push([address, [...data]]);
      await answerDma(main, new Uint8Array(Number(BASE) + 4 * PAGE), message);
    }
    expect(await touching).toMatchObject({ pages: 2 });
    expect(seen.sort(([a], [b]) => a - b)).toEqual([
      [Number(BASE), [0]],
      [Number(BASE) + 2 * PAGE, [7]],
    ]);
    expect(server.memory.dirtyLog.pageSize).toBe(BigInt(PAGE));
  });

  it('take one message for up to 8 that lie side by side', async () => {
    const { device, controller, main } = await line(16);
    await controller.startDmaLogging(BigInt(PAGE), []);
    for (let page = 0; page < 10; page += 1)
      await device.put(BASE + BigInt(page * PAGE), Uint8Array.of(page + 1));
    await controller.setMigrationState(STOP_COPY);
    const touching = controller.switchover({ do: 'TOUCH' });
    const seen: [number, number, number | undefined][] = [];
    for (let i = 0; i < 2; i += 1) {
      const message = await main.next(isCommand);
      const { address, data } = dmaOf(message);
      seen.push([address, data.length, data.at(-1)]);
      await answerDma(main, new Uint8Array(Number(BASE) + 16 * PAGE), message);
    }
    expect(await touching).toMatchObject({ pages: 10 });
    expect(seen.sort(([a], [b]) => a - b)).toEqual([
      [Number(BASE), 7 * PAGE + 1, 8],
      [Number(BASE) + 8 * PAGE, PAGE + 1, 10],
    ]);
  });

  it('are refused while the device runs, and without a log', async () => {
    const { controller } = await line();
    await controller.startDmaLogging(BigInt(PAGE), []);
    await expect(controller.switchover({ do: 'TOUCH' })).rejects.toMatchObject({ errno: Errno.EINVAL });
    await controller.stopDmaLogging();
    await controller.setMigrationState(STOP_COPY);
    await expect(controller.switchover({ do: 'TOUCH' })).rejects.toMatchObject({ errno: Errno.EINVAL });
  });

  it('fail when the VMM does not let the device write', async () => {
    const { device, controller, main } = await line();
    await controller.startDmaLogging(BigInt(PAGE), []);
    await device.put(BASE, Uint8Array.of(1));
    await controller.setMigrationState(STOP_COPY);
    const touching = controller.switchover({ do: 'TOUCH' });
    const { id, command } = await main.next(isCommand);
    main.send(Buffer.concat([fields16(id, command), fields(16, 0x21, Errno.ENODEV)]));
    await expect(touching).rejects.toMatchObject({ errno: Errno.ENODEV });
  });
});

function fields16(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(2 * values.length);
  for (const [i, value] of values.entries()) bytes.writeUInt16LE(value, 2 * i);
  return bytes;
}

describe('who may ask', () => {
  it('is the control socket alone, and nobody while another has claimed the device', async () => {
    const { controller, main, served } = await line();
    expect((await main.request(0xfe05, fields(16, 0, 1, 0, 0n))).error).toBe(Errno.EPERM);
    await controller.claim(new Uint8Array(16).fill(1), 1n);
    const other = await DeviceClient.connect(served.controlPath);
    clients.push(other);
    await expect(other.switchover({ do: 'WITHHOLD' })).rejects.toMatchObject({ errno: Errno.EBUSY });
    expect(await other.switchover({ do: 'QUERY' })).toMatchObject({ withheld: false });
  });

  it('is nobody who did not agree on it', async () => {
    const { served } = await line();
    const control = await served.control();
    expect((await control.request(0xfe05, fields(16, 0, 0, 0, 0n))).error).toBe(Errno.EINVAL);
  });
});
