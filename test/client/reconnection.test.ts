import { afterEach, describe, expect, it } from 'vitest';
import { ClientError, DeviceClient, RemoteError } from '../../src/client/index.ts';
import { serveForTest, settle } from '../helpers/served.ts';
import { TestDevice } from '../helpers/test-device.ts';

let served: ReturnType<typeof serveForTest>;
const clients: DeviceClient[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  served.close();
});

async function connected(path: string): Promise<DeviceClient> {
  const client = await DeviceClient.connect(path);
  clients.push(client);
  return client;
}

describe('reconnection', () => {
  it('tells how things are, and decides', async () => {
    served = serveForTest(new TestDevice());
    const control = await connected(served.controlPath);
    expect(await control.reconnection(null)).toMatchObject({ policy: 'reset', kept: null });
    const first = await served.main();
    expect(await control.reconnection('keep')).toMatchObject({ policy: 'keep', kept: null });
    first.close();
    while (served.server.main !== null) await settle(1);
    const kept = await control.reconnection(null);
    expect(kept.kept).toMatchObject({ returned: false, withheldResets: 0 });
    expect(kept.kept?.configuration.subarray(0, 2)).toEqual(await control.read(7, 0, 2));
    const vmm = await served.main();
    expect(await vmm.request(13)).toMatchObject({ error: 0 });
    expect((await control.reconnection(null)).kept).toMatchObject({ returned: true, withheldResets: 1 });
    expect(await control.reconnection('continue')).toMatchObject({ policy: 'keep', kept: null });
    vmm.close();
    while (served.server.main !== null) await settle(1);
    expect(await control.reconnection('reset')).toMatchObject({ policy: 'reset', kept: null });
  });

  it('says when there is nothing to continue', async () => {
    served = serveForTest(new TestDevice());
    const control = await connected(served.controlPath);
    await expect(control.reconnection('continue')).rejects.toBeInstanceOf(RemoteError);
  });

  it('is not asked of a VMM, or of a server that does not know it', async () => {
    served = serveForTest(new TestDevice());
    const vmm = await connected(served.socketPath);
    await expect(vmm.reconnection(null)).rejects.toBeInstanceOf(ClientError);
  });
});
