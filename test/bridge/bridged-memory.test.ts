import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import type { FakeKernel } from '../kernel/fake-kernel.ts';
import { BridgeLab } from './lab.ts';

const IOVA = 0x10_0000n;
/** linux/vfio.h. */
const [MAP_DMA, UNMAP_DMA] = [0x3b71, 0x3b72];

let lab: BridgeLab;

beforeEach(() => {
  lab = new BridgeLab();
});

afterEach(() => lab.close());

/** From now on a call takes until it is let go; `begun` settles when it has been made. */
function slow(kernel: FakeKernel, request: number): { readonly begun: Promise<void>; letGo(): void } {
  const { ioctlLater } = kernel;
  let letGo = (): void => {};
  const gone = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  const begun = new Promise<void>((resolve) => {
    kernel.ioctlLater = async (...args) => {
      if (args[1] === request) {
        resolve();
        await gone;
      }
      return ioctlLater.apply(kernel, args);
    };
  });
  return { begun, letGo };
}

describe('memory of a client', () => {
  it('is mapped through the IOMMU for as long as its client does', async () => {
    const { kernel, fake, server } = await lab.bridged();
    const memory = lab.guestMemory();
    const client = await lab.connected(server.socketPath, memory);
    const [first, second] = [
      memory.add({ iova: IOVA, size: 4096 }),
      memory.add({ iova: 2n * IOVA, size: 4096 }),
    ];
    await client.mapMemory(first);
    await client.mapMemory(second);
    expect([...fake.maps.keys()]).toEqual([IOVA, 2n * IOVA]);
    expect(kernel.dmaWrite(fake, IOVA, 1)).toBe(true);
    await client.unmapMemory(first);
    expect(kernel.dmaWrite(fake, IOVA, 1)).toBe(false);
    client.close();
    await expect.poll(() => fake.maps.size).toBe(0);
  });

  it.each([
    ['has no file', {}, 'message', 'start the VMM with shared memory'],
    ['is refused by the IOMMU', { mapFails: Errno.ENOMEM }, 'mmap', 'ulimit'],
  ] as const)('is told of by the control socket when it %s', async (_, options, access, why) => {
    const { server } = await lab.bridged({}, options);
    const memory = lab.guestMemory();
    const client = await lab.connected(server.socketPath, memory);
    await client.mapMemory(memory.add({ iova: IOVA, size: 4096, access }));
    const control = await lab.connected(server.controlPath);
    const report = JSON.stringify(await control.inspectServer());
    expect(report).toContain('the device does not reach 0x100000-0x100fff');
    expect(report).toContain(why);
    await client.unmapAll();
    expect(JSON.stringify(await control.inspectServer())).not.toContain('does not reach');
  });

  it.each([
    ['mapped', MAP_DMA],
    ['taken back', UNMAP_DMA],
  ] as const)('that takes long to be %s keeps its client waiting, and nobody else', async (_, request) => {
    const { kernel, server } = await lab.bridged();
    const memory = lab.guestMemory();
    const client = await lab.connected(server.socketPath, memory);
    const control = await lab.connected(server.controlPath);
    const region = memory.add({ iova: IOVA, size: 4096 });
    if (request === UNMAP_DMA) await client.mapMemory(region);
    const { begun, letGo } = slow(kernel, request);
    const order: string[] = [];
    const done = request === MAP_DMA ? client.mapMemory(region) : client.unmapMemory(region);
    const answered = done.then(() => order.push('memory'));
    await begun;
    const later = client.readU8(0, 7).then(() => order.push('register'));
    // Two answers of the other socket: by the second one what came on the first socket has been seen.
    for (const _each of [1, 2]) expect(await control.migrationState()).toBe(2);
    expect(order).toEqual([]);
    letGo();
    await Promise.all([answered, later]);
    expect(order).toEqual(['memory', 'register']);
  });

  it('is taken back when its client has gone while it was being mapped, before the next one maps there', async () => {
    const { kernel, fake, server } = await lab.bridged();
    const [memory, others] = [lab.guestMemory(), lab.guestMemory()];
    const client = await lab.connected(server.socketPath, memory);
    const { begun, letGo } = slow(kernel, MAP_DMA);
    const lost = client.mapMemory(memory.add({ iova: IOVA, size: 8192 })).catch(() => 'lost');
    await begun;
    client.close();
    expect(await lost).toBe('lost');
    const next = await lab.connected(server.socketPath, others);
    const mapped = next.mapMemory(others.add({ iova: IOVA, size: 4096 }));
    letGo();
    await mapped;
    expect([...fake.maps].map(([iova, { size }]) => [iova, size])).toEqual([[IOVA, 4096n]]);
    const control = await lab.connected(server.controlPath);
    expect(JSON.stringify(await control.inspectServer())).not.toContain('health');
  });

  it('that can not be taken back is told of for as long as the device may reach it', async () => {
    const { server } = await lab.bridged({}, { unmapFails: Errno.EIO });
    const memory = lab.guestMemory();
    const client = await lab.connected(server.socketPath, memory);
    const region = memory.add({ iova: IOVA, size: 4096 });
    await client.mapMemory(region);
    await client.unmapMemory(region);
    const control = await lab.connected(server.controlPath);
    expect(JSON.stringify(await control.inspectServer())).toContain('stays reserved');
  });
});
