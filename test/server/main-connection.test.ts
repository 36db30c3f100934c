import { describe, expect, it } from 'vitest';
import { PciDevice } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { loadNative } from '../../src/native/index.ts';
import type { ServeOptions } from '../../src/server/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { EventLoopReactor } from '../../src/transport/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { fields, rawMessage, versionPayload } from '../helpers/raw-client.ts';
import { settle } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { until } from '../helpers/until.ts';
import { readRegister, writeRegisters } from './dma-device.ts';
import { getState, setState } from './migration-driver.ts';
import { type Served, testServers } from './test-servers.ts';

const { EBUSY } = Errno;
const { STOP, RUNNING } = MigrationState;
const POSTED = 0x10;
const native = loadNative();

let served: Served;
const servers = testServers();

function serve<D extends PciDevice>(device: D, options: ServeOptions = {}): D {
  served = servers.serve(device, options);
  return device;
}

describe('the seat of the VMM', () => {
  it('is taken: a second VMM is told EBUSY and dismissed, and the first never notices', async () => {
    serve(new TestDevice());
    const first = await served.main();
    const second = served.connect();
    const reply = await second.request(1, versionPayload(0, 0));
    expect(reply).toMatchObject({ error: EBUSY, flags: 0x21 });
    expect(reply.payload).toHaveLength(0);
    await second.waitClosed();
    expect(await readRegister(first, 0)).toBe(0x600df00d);
  });

  it('is refused once, whatever the second VMM sent along', async () => {
    serve(new TestDevice());
    await served.main();
    const second = served.connect();
    second.send(
      Buffer.concat(
        [1, 2, 3].map((id) =>
          rawMessage(id, id === 1 ? 1 : 4, id === 1 ? versionPayload(0, 0) : fields(16, 0, 0, 0)),
        ),
      ),
    );
    expect(await second.next()).toMatchObject({ id: 1, error: EBUSY });
    await second.waitClosed();
    expect(await second.receives(() => true, 1)).toBe(false);
  });

  it('is free for a VMM that reconnects at once, again and again', async () => {
    serve(new TestDevice());
    for (let again = 0; again < 20; again += 1) {
      const client = await served.main();
      expect(await readRegister(client, 0)).toBe(0x600df00d);
      client.close();
    }
  });

  it('is given to a VMM that comes while the old connection is still dying, with what it sent along', async () => {
    serve(new TestDevice());
    const old = await served.main();
    const next = served.connect();
    next.send(Buffer.concat([rawMessage(1, 1, versionPayload(0, 0)), rawMessage(2, 9, fields(0n, 0, 4))]));
    await until(() => served.server.succession.unsettled() !== null);
    old.close();
    expect(await next.reply(1)).toMatchObject({ error: 0 });
    expect(await next.reply(2)).toMatchObject({ error: 0 });
  });

  it('is given to the next also when the old one left more parked than is read of it', async () => {
    const device = serve(new TestDevice());
    const old = await served.main();
    const control = await served.control();
    await setState(control, STOP);
    const write = rawMessage(9, 10, writeRegisters(4, 1), POSTED);
    await old.stream(Buffer.concat(Array.from({ length: 17_000 }, () => write)));
    old.send(rawMessage(10, 10, writeRegisters(4, 2), POSTED));
    await until(() => (served.server.main?.connection.heldCommands ?? 0) >= 16_384);
    old.close();
    const next = await served.main();
    await setState(control, RUNNING);
    expect(await readRegister(next, 4)).toBe(1);
    expect(device.state.scratch).toBe(1);
  });

  it('is not lost by a VMM that is slow to read what it is owed', async () => {
    serve(new TestDevice());
    const first = await served.main();
    const control = await served.control();
    await setState(control, STOP);
    const read = first.post(9, fields(0n, 0, 4));
    await settle(10);
    const second = served.connect();
    expect(await second.request(1, versionPayload(0, 0))).toMatchObject({ error: EBUSY });
    await setState(control, RUNNING);
    expect(await first.reply(read)).toMatchObject({ error: 0 });
  });

  it('is not needed by controllers, of whom there are eight', async () => {
    serve(new TestDevice());
    const controls = [];
    for (let i = 0; i < 8; i += 1) controls.push(await served.control());
    await expect(served.control()).rejects.toThrow('errno 16');
    controls[3]?.close();
    await until(() => served.server.controls === 7);
    expect(await getState(await served.control())).toBe(RUNNING);
  });
});

describe('a client that says nothing', () => {
  /** A clock on which 5 s are 50 ms. */
  class HurriedReactor extends EventLoopReactor {
    override after(ms: number, run: () => void) {
      return super.after(ms / 100, run);
    }
  }

  it('is dismissed after 5 s, and one that has said VERSION is not', async () => {
    serve(new TestDevice(), { reactor: new HurriedReactor(native) });
    const polite = await served.main();
    const silent = served.connect();
    const half = served.connect(served.controlPath);
    half.send(rawMessage(1, 1, versionPayload(0, 0)).subarray(0, 20));
    await silent.waitClosed();
    await half.waitClosed();
    expect(await readRegister(polite, 0)).toBe(0x600df00d);
  });
});

/** Notes every access to its BAR. */
class Recorder extends PciDevice {
  override readonly identity = { kind: 'recorder', vendor: 0x1af4, device: 0x10f2, classCode: 0xff0000 };
  readonly accesses: string[] = [];
  override readonly bars = {
    0: this.callbacks(4096, {
      read: (offset, target, at, length) => {
        this.accesses.push(`read ${offset}`);
        target.fill(offset, at, at + length);
      },
      write: (offset, source, at) => {
        this.accesses.push(`write ${offset}=${source[at]}`);
      },
    }),
  };
  override readonly interrupts = {};
}

describe('commands', () => {
  it('are carried out in the order in which they came, posted or not', async () => {
    const device = serve(new Recorder());
    const client = await served.main();
    const messages = Array.from({ length: 300 }, (_, i) =>
      i % 3 === 2
        ? rawMessage(i, 9, fields(BigInt(i), 0, 1))
        : rawMessage(i, 10, fields(BigInt(i), 0, 1, Buffer.of(i & 0xff)), i % 3 === 0 ? POSTED : 0),
    );
    client.send(Buffer.concat(messages));
    await client.reply(299);
    expect(device.accesses).toEqual(
      messages.map((_, i) => (i % 3 === 2 ? `read ${i}` : `write ${i}=${i & 0xff}`)),
    );
  });

  it('may come a thousand at a time, and are answered each, in order', async () => {
    serve(new Recorder());
    const client = await served.main();
    client.send(
      Buffer.concat(Array.from({ length: 1000 }, (_, id) => rawMessage(id, 9, fields(BigInt(id), 0, 4)))),
    );
    for (let id = 0; id < 1000; id += 1) {
      const reply = await client.next();
      expect(reply).toMatchObject({ id, command: 9, flags: 1, error: 0 });
      expect(reply.payload.subarray(16)).toEqual(new Uint8Array(4).fill(id));
    }
  });

  it('may come a byte at a time', async () => {
    serve(new Recorder());
    const client = await served.main();
    for (const byte of rawMessage(7, 9, fields(3n, 0, 2))) {
      client.send(Uint8Array.of(byte));
      await settle(0);
    }
    expect((await client.reply(7)).payload.subarray(16)).toEqual(Uint8Array.of(3, 3));
  });
});

describe('fds that nobody asked for', () => {
  const stray: readonly (readonly [string, number, Buffer])[] = [
    ['VERSION said twice', 1, versionPayload(0, 0)],
    ['DEVICE_GET_INFO', 4, fields(16, 0, 0, 0)],
    ['REGION_READ', 9, fields(0n, 0, 4)],
    ['REGION_WRITE', 10, fields(4n, 0, 4, 1)],
    ['DMA_MAP, two too many', 2, fields(32, 3, 0n, 0x50_0000n, 0x1000n)],
    ['DMA_MAP of nothing', 2, fields(32, 3, 0n, 0n, 0n)],
    ['DMA_UNMAP', 3, fields(24, 2, 0n, 0n)],
    ['SET_IRQS, one too many', 8, fields(20, 0x24, 2, 0, 2)],
    ['SET_IRQS with memory instead of eventfds', 8, fields(20, 0x24, 2, 0, 3)],
    ['SET_IRQS with fds to mask', 8, fields(20, 0x0c, 2, 0, 3)],
    ['an unknown command', 999, fields()],
    ['DEVICE_RESET', 13, fields()],
    ['a reply to nothing', 11, fields(0n, 0n)],
  ];

  it.each(stray)('are closed: with %s', async (what, command, payload) => {
    serve(new TestDevice());
    const client = await served.main();
    await client.request(4, fields(16, 0, 0, 0));
    const memory = native.memfd('stray', 4096, true);
    const before = openFds();
    client.post(command, payload, what.startsWith('a reply') ? 1 : 0, [memory, memory, memory]);
    expect(await readRegister(client, 0)).toBe(0x600df00d);
    await client.request(3, fields(24, 2, 0n, 0n));
    expect(openFds()).toEqual(before);
    native.close(memory);
  });

  it('are closed when their message never becomes whole', async () => {
    serve(new TestDevice());
    await served.control();
    const before = openFds();
    const client = await served.main();
    const memory = native.memfd('stray', 4096, true);
    client.send(rawMessage(1, 2, fields(32, 3, 0n, 0n, 0x1000n)).subarray(0, 30), [memory, memory]);
    await settle(5);
    client.close();
    native.close(memory);
    await until(() => served.server.main === null);
    expect(openFds()).toEqual(before);
  });
});

describe('a client that never reads', () => {
  const LENGTH = 4096;

  it('is answered no more, costs no memory, holds nobody up, and gets all it is owed once it reads', async () => {
    serve(new TestDevice());
    const idle = native.connect(served.socketPath);
    const send = (message: Buffer) => native.send(idle, message, 0, message.length, null, 0, 0, null);
    send(rawMessage(0, 1, versionPayload(0, 0, null)));
    const control = await served.control();
    const request = rawMessage(1, 9, fields(0n, 2, LENGTH));
    const rss = process.memoryUsage.rss();
    let sent = 0;
    for (let refusals = 0; refusals < 20; ) {
      const taken = send(request) === request.length;
      if (taken) sent += 1;
      else refusals += 1;
      if (!taken || sent % 64 === 0) await settle(0);
      if (sent > 100_000) throw new Error('the server takes requests without end');
    }
    const start = performance.now();
    expect(await getState(control)).toBe(RUNNING);
    expect(performance.now() - start).toBeLessThan(30_000);
    expect(process.memoryUsage.rss() - rss).toBeLessThan(32 * 1024 * 1024);
    const into = new Uint8Array(1024 * 1024);
    const owed = 20 + sent * (32 + LENGTH);
    let received = 0;
    const deadline = Date.now() + 60_000;
    while (received < owed && Date.now() < deadline) {
      const count = native.receive(idle, into, 0, into.length, new Int32Array(2), 0);
      if (count > 0) received += count;
      else await settle(0);
    }
    expect(received).toBe(owed);
    native.close(idle);
    await until(() => served.server.main === null);
  });
});
