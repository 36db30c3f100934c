import { describe, expect, it } from 'vitest';
import type { PciDevice } from '../../src/device/index.ts';
import { Errno } from '../../src/errors/index.ts';
import { DEFAULT_MAX_DMA_MAPS } from '../../src/protocol/index.ts';
import type { ServeOptions } from '../../src/server/index.ts';
import { MigrationState } from '../../src/states/index.ts';
import { fields, rawMessage } from '../helpers/raw-client.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { setState } from './migration-driver.ts';
import { type Served, testServers } from './test-servers.ts';

const { EINVAL, ENOSPC } = Errno;
const { PRE_COPY } = MigrationState;
const POSTED = 0x10;

let served: Served;
const servers = testServers();

function serve<D extends PciDevice>(device: D, options: ServeOptions = {}): D {
  served = servers.serve(device, options);
  return device;
}

/** VERSION data with these capabilities. */
function proposing(capabilities: object): string {
  return JSON.stringify({ capabilities });
}

describe('limits', () => {
  it('of the server bound every data message, whether the client has asked for them or not', async () => {
    serve(new TestDevice(), { capabilities: { maxDataXferSize: 4096 } });
    for (const json of [undefined, proposing({})]) {
      const client = await served.main(json);
      expect(await client.request(9, fields(0n, 2, 4096))).toMatchObject({ error: 0 });
      expect(await client.request(9, fields(0n, 2, 4097))).toMatchObject({ error: EINVAL });
      expect(await client.request(9, fields(0n, 2, 65_536))).toMatchObject({ error: EINVAL });
      await setState(client, PRE_COPY);
      expect(await client.request(17, fields(8 + 4096, 4096))).toMatchObject({ error: 0 });
      expect(await client.request(17, fields(8 + 4097, 4097))).toMatchObject({ error: EINVAL });
      expect(await client.request(13)).toMatchObject({ error: 0 });
      client.close();
    }
  });

  it('of the client bound a dirty bitmap: one that is too long is refused, and the map stays', async () => {
    serve(new TestDevice());
    const client = await served.main(proposing({ max_data_xfer_size: 16 * 1024 * 1024 }));
    const size = 1n << 40n;
    expect(await client.request(2, fields(32, 3, 0n, 0n, size))).toMatchObject({ error: 0 });
    expect(await client.request(16, fields(24, 0x2_0006, 4096n, 0, 0))).toMatchObject({ error: 0 });
    const bitmap = size / 4096n / 8n;
    const unmap = (pgsize: bigint, bytes: bigint) =>
      client.request(3, fields(40 + Number(bytes), 1, 0n, size, pgsize, bytes));
    expect(await unmap(4096n, bitmap)).toMatchObject({ error: EINVAL });
    expect(await unmap(65_536n, 2n * 1024n * 1024n)).toMatchObject({ error: EINVAL });
    expect(served.server.memory.mapCount).toBe(1);
    const reply = await unmap(1n << 30n, 128n);
    expect(reply.error).toBe(0);
    expect(reply.payload).toHaveLength(40 + 128);
    expect(served.server.memory.mapCount).toBe(0);
  });

  it('of the server on DMA maps are kept: one too many is ENOSPC, until one has gone', async () => {
    serve(new TestDevice(), { capabilities: { maxDmaMaps: 2 } });
    const client = await served.main();
    const map = async (iova: bigint): Promise<number> =>
      (await client.request(2, fields(32, 3, 0n, iova, 0x1000n))).error;
    expect([await map(0n), await map(0x1000n), await map(0x2000n)]).toEqual([0, 0, ENOSPC]);
    expect(await client.request(3, fields(24, 0, 0n, 0x1000n))).toMatchObject({ error: 0 });
    expect(await map(0x2000n)).toBe(0);
  });

  it('may be more DMA maps than the specification has by default', async () => {
    const beyond = DEFAULT_MAX_DMA_MAPS + 1;
    serve(new TestDevice(), { capabilities: { maxDmaMaps: beyond } });
    const client = await served.main();
    const map = (i: number) => fields(32, 3, 0n, BigInt(i) * 0x1000n, 0x1000n);
    // As many at a time as a socket takes.
    for (let i = 0; i < beyond; i += 2048) {
      const posted = Array.from({ length: 2047 }, (_, more) => rawMessage(1, 2, map(i + 1 + more), POSTED));
      client.send(Buffer.concat(posted));
      expect((await client.request(2, map(i))).error).toBe(0);
    }
    expect(served.server.memory.mapCount).toBe(beyond);
    expect((await client.request(2, map(beyond))).error).toBe(ENOSPC);
  }, 30_000);

  it('on fds are respected: a client that takes none is offered no mapping', async () => {
    serve(new TestDevice());
    const flagsFor = async (json: string): Promise<readonly [number, number]> => {
      const client = await served.main(json);
      const reply = await client.request(5, fields(64, 0, 2, 0, 0n, 0n));
      const { length } = reply.fds;
      client.close();
      return [Buffer.from(reply.payload).readUInt32LE(4) & 4, length];
    };
    expect(await flagsFor(proposing({ max_msg_fds: 1 }))).toEqual([4, 1]);
    expect(await flagsFor(proposing({ max_msg_fds: 0 }))).toEqual([0, 0]);
    expect(await flagsFor(proposing({}))).toEqual([4, 1]);
  });
});
