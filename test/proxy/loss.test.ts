import { afterEach, describe, expect, it } from 'vitest';
import { loadNative } from '../../src/native/index.ts';
import { fields, RawClient } from '../helpers/raw-client.ts';
import { Bench, Register, SOON } from './bench.ts';

const EIO = 5;
const CONFIG = 7;

let bench: Bench;
afterEach(() => bench.close());

async function dead(options: { holdLimitMs?: number } = {}): Promise<void> {
  bench = await Bench.open(options);
  await bench.write(0, Register.SCRATCH, 1);
  bench.old.saboteur.cut();
  await expect.poll(() => bench.proxy.status().state, SOON).toBe('no back end');
}

describe('a back end that dies', () => {
  it('is reported, and its client kept', async () => {
    await dead();
    expect(bench.reported).toMatchObject([{ code: 'ERR_BACKEND', context: { path: bench.old.path } }]);
    expect(bench.proxy.status()).toMatchObject({ loss: { path: bench.old.path, repeated: 0, failed: 0 } });
    expect(bench.client.closed).toBe(false);
  });

  it('can be replaced by a fresh one, which is told everything and asked what waits', async () => {
    await dead();
    const read = bench.client.post(9, fields(BigInt(Register.COUNTER), 0, 4));
    const report = await bench.proxy.swap(bench.fresh.path, true);
    expect(report).toMatchObject({ stateBytes: null, dmaMaps: 2, vectors: 2 });
    expect(report?.lost).toHaveLength(2);
    expect(Buffer.from((await bench.client.reply(read)).payload).readUInt32LE(16)).toBe(7);
    expect(await bench.read(0, Register.SCRATCH), 'its state is lost').toBe(0);
    expect([await bench.read(CONFIG, 0x10), await bench.read(CONFIG, 4, 2)]).toEqual([0xfeb0_0000, 6]);
    await bench.expectDma('on a fresh one');
    expect(bench.proxy.status()).toMatchObject({ state: 'serving', loss: null });
  });

  it('may leave a request without an answer: the next one is asked', async () => {
    bench = await Bench.open();
    const { saboteur } = bench.old;
    saboteur.seen = [];
    saboteur.target = { command: 9, nth: 1, how: 'hang' };
    const read = bench.client.post(9, fields(BigInt(Register.COUNTER), 0, 4));
    await expect.poll(() => saboteur.seen, SOON).toEqual([9]);
    saboteur.cut();
    await expect.poll(() => bench.proxy.status().loss, SOON).toMatchObject({ repeated: 1, failed: 0 });
    await bench.proxy.swap(bench.fresh.path, true);
    expect(Buffer.from((await bench.client.reply(read)).payload).readUInt32LE(16)).toBe(7);
  });

  it('leaves memory and interrupts to the client: what it changes meanwhile is known to the next', async () => {
    await dead();
    expect(await bench.client.request(3, fields(24, 0, 0x8000_0000n, 4096n))).toMatchObject({ error: 0 });
    const eventfd = loadNative().eventfd(0);
    await bench.ask(8, fields(20, 0x24, 2, 1, 1), [eventfd]);
    await bench.proxy.swap(bench.fresh.path, true);
    expect(bench.fresh.served.server.memory.mapCount).toBe(1);
    await bench.write(0, 0x18, 1);
    expect([loadNative().eventfdRead(eventfd), loadNative().eventfdRead(bench.eventfd)]).toEqual([1, -11]);
    loadNative().close(eventfd);
  });

  it('keeps a client waiting for no longer than it may: then accesses fail, until there is another', async () => {
    await dead({ holdLimitMs: 1500 });
    bench.client.post(10, bench.writeOf(0, Register.SCRATCH, 9), 0x10);
    expect(await bench.client.request(9, fields(0n, 0, 4))).toMatchObject({ error: EIO });
    expect(bench.proxy.status().droppedWrites).toBe(1);
    expect(await bench.client.request(9, fields(0n, 0, 4))).toMatchObject({ error: EIO });
    await bench.proxy.swap(bench.fresh.path, true);
    expect(await bench.read(0, Register.SCRATCH)).toBe(0);
  });
});

describe('a client', () => {
  it('that comes while another is there is turned away', async () => {
    bench = await Bench.open();
    const second = RawClient.connect(`${bench.folder}/vm.sock`);
    await second.waitClosed();
    second.close();
    expect(bench.reported).toMatchObject([{ code: 'ERR_PROXY_BUSY' }]);
  });

  it('that has gone frees its back end for the next', async () => {
    bench = await Bench.open();
    bench.client.close();
    await bench.old.expectLeft();
    bench.client = await RawClient.open(`${bench.folder}/vm.sock`);
    await bench.attach();
    await bench.expectDma('again');
  });

  it('may send many large messages at once, either way', async () => {
    bench = await Bench.open({ direct: true });
    const data = Buffer.alloc(60_000, 0x5a);
    const ids = Array.from({ length: 40 }, () => bench.client.post(9, fields(0n, 2, 60_000)));
    for (const id of ids) {
      const { error, payload } = await bench.client.reply(id);
      expect([error, payload.length]).toEqual([0, 16 + 60_000]);
    }
    await bench.client.stream(
      Buffer.concat(Array.from({ length: 40 }, (_, i) => rawWrite(0x1000 + i, data))),
    );
    for (let i = 0; i < 40; i++) expect(await bench.client.reply(0x1000 + i)).toMatchObject({ error: 0 });
    expect(bench.old.device.state.ram.bytes[59_999]).toBe(0x5a);
  });
});

function rawWrite(id: number, data: Buffer): Buffer {
  const payload = fields(0n, 2, data.length, data);
  const header = Buffer.alloc(16);
  header.writeUInt16LE(id, 0);
  header.writeUInt16LE(10, 2);
  header.writeUInt32LE(16 + payload.length, 4);
  return Buffer.concat([header, payload]);
}
