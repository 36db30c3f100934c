import { afterEach, describe, expect, it } from 'vitest';
import { DeviceDma } from '../../src/device/device-dma.ts';
import { FakeHost } from '../helpers/fake-host.ts';

const BASE = 0x100000n;

describe('DeviceDma', () => {
  const hosts: FakeHost[] = [];
  afterEach(() => {
    for (const host of hosts.splice(0)) host.close();
  });

  function make() {
    const host = new FakeHost();
    hosts.push(host);
    let refusal: Error | null = null;
    const dma = new DeviceDma(host.memory, {
      check: () => {
        if (refusal !== null) throw refusal;
      },
    });
    const refuse = (error: Error) => {
      refusal = error;
    };
    return { host, dma, refuse };
  }

  it('reads and writes mapped memory, at once and asynchronously', async () => {
    const { host, dma } = make();
    const guest = host.mapMemory(BASE, 8192);
    guest.set([1, 2, 3], 5000);
    expect(await dma.read(BASE + 5000n, 3)).toEqual(Uint8Array.of(1, 2, 3));
    await dma.write(BASE + 10n, Uint8Array.of(4, 5));
    const target = new Uint8Array(2);
    dma.readSync(BASE + 10n, target);
    expect(target).toEqual(Uint8Array.of(4, 5));
    dma.writeSync(BASE, Uint8Array.of(9));
    expect(guest[0]).toBe(9);
    expect(dma.view(BASE, 12)?.subarray(9)).toEqual(Uint8Array.of(0, 4, 5));
    await dma.idle();
    expect(dma.outstanding).toBe(0);
  });

  it('marks what was written through a view, for a migration of the guest', () => {
    const { host, dma } = make();
    host.mapMemory(BASE, 0x10000);
    host.memory.dirtyLog.start(4096n, []);
    dma.markDirty(BASE + 0x2000n, 1);
    const report = host.memory.dirtyLog.report(BASE, 0x10000n, 4096n);
    expect(report[0]).toBe(0b100);
  });

  it('counts what is outstanding, and is idle after the continuation of the last', async () => {
    const { host, dma } = make();
    const port = host.messageMemory(BASE, new Uint8Array(4096));
    port.manual = true;
    const order: string[] = [];
    const first = dma.read(BASE, 16).then(() => order.push('first'));
    const second = dma.write(BASE, new Uint8Array(16)).then(() => order.push('second'));
    const idle = dma.idle().then(() => order.push('idle'));
    expect(dma.outstanding).toBe(2);
    port.answer();
    await Promise.all([first, second, idle]);
    expect(order).toHaveLength(3);
    expect(order.at(-1)).toBe('idle');
    await dma.idle();
  });

  it('rejects what the gate refuses, without touching memory', async () => {
    const { host, dma, refuse } = make();
    const guest = host.mapMemory(BASE, 4096);
    refuse(new Error('no'));
    await expect(dma.read(BASE, 1)).rejects.toThrow('no');
    await expect(dma.write(BASE, Uint8Array.of(1))).rejects.toThrow('no');
    expect(() => dma.readSync(BASE, new Uint8Array(1))).toThrow('no');
    expect(() => dma.writeSync(BASE, Uint8Array.of(1))).toThrow('no');
    expect(() => dma.view(BASE, 1)).toThrow('no');
    expect(guest[0]).toBe(0);
    expect(dma.outstanding).toBe(0);
  });

  it('refuses memory that is not mapped before it allocates as much', async () => {
    const { dma } = make();
    await expect(dma.read(BASE, 2 ** 52)).rejects.toMatchObject({ code: 'ERR_DMA_UNMAPPED' });
    expect(dma.outstanding).toBe(0);
  });

  it('abandons promises on a reset, while the operations still count', async () => {
    const { host, dma } = make();
    const port = host.messageMemory(BASE, new Uint8Array(4096));
    port.manual = true;
    const read = dma.read(BASE, 16);
    dma.abandon();
    await expect(read).rejects.toMatchObject({ code: 'ERR_DEVICE_QUIESCED', errno: 125 });
    expect(dma.outstanding).toBe(1);
    port.answer();
    await dma.idle();
    expect(dma.outstanding).toBe(0);
  });
});
