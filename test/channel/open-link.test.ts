import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TlsIdentity } from '../../src/channel/index.ts';
import { loadNative, type Native } from '../../src/native/index.ts';
import { identities, join2, temporaryFolder } from './carriers.ts';

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let own: Map<string, TlsIdentity>;
beforeAll(async () => {
  folder = await temporaryFolder();
  own = await identities(folder.path, ['127.0.0.1', 'sender']);
}, 60_000);
afterAll(() => folder.remove());

describe('a link', () => {
  it.each([
    ['tls', ['127.0.0.1', 'sender']],
    ['tcp', []],
  ] as const)('over %s keeps the heap if records come in memory of their own', async (carrier, who) => {
    const kept: string[] = [];
    const side = (name: string) => {
      const native: Native = { ...loadNative(), keepHeap: () => kept.push(name) };
      return { native, handshakeMs: 60_000, tls: own.get(name) ?? expect.unreachable(name) };
    };
    const at = { carrier, host: '127.0.0.1', port: 0 };
    const { sender, receiver, listener } = await join2(at, side('sender'), side('127.0.0.1'));
    expect(kept.sort()).toEqual(who);
    await Promise.all([sender.close(), receiver.close()]);
    await listener.close();
  });
});
