import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { GdbClient } from '../../../src/vm/gdb/gdb-client.ts';
import { encodePacket } from '../../../src/vm/gdb/gdb-packet.ts';
import { fakePeer } from '../fake-peer.ts';

const QUICK = { timeoutMs: 500 };
const nothing = (): void => {};

/** A stub in physical-memory mode, which answers other packets with what `answer` gives; null: with nothing. */
function stub(answer: (packet: string) => string | null) {
  return (socket: Socket, text: string): void => {
    for (const [, packet = ''] of text.matchAll(/\$([^#]*)#../g)) {
      const told =
        packet === 'Qqemu.PhyMemMode:1' ? 'OK' : packet === 'qqemu.PhyMemMode' ? '1' : answer(packet);
      if (told !== null) socket.write(`+${encodePacket(told)}`);
    }
  };
}

async function connected(answer: (packet: string) => string | null) {
  const peer = await fakePeer(nothing, stub(answer));
  return { peer, client: await GdbClient.connect(peer.path, QUICK) };
}

describe('a gdb stub', () => {
  it('reads and writes physical memory', async () => {
    const { peer, client } = await connected((packet) => (packet.startsWith('m') ? '8680c029' : 'OK'));
    expect([...(await client.read(0xb000_0000n, 4))]).toEqual([0x86, 0x80, 0xc0, 0x29]);
    await client.write(0xb000_0004n, Uint8Array.of(6, 4));
    expect(peer.heard()).toContain('$mb0000000,4#');
    expect(peer.heard()).toContain('$Mb0000004,2:0604#');
    client.close();
  });

  it('answers in order, however many are asked for at once', async () => {
    const { client } = await connected((packet) => packet.slice(1, 3));
    const read = (address: number) => client.read(BigInt(address), 1);
    const found = await Promise.all([0x10, 0x20, 0x30].map(read));
    expect(found.map(([byte]) => byte)).toEqual([0x10, 0x20, 0x30]);
    client.close();
  });

  it('says where nothing answers', async () => {
    const { client } = await connected(() => 'E14');
    await expect(client.read(0x1000n, 4)).rejects.toMatchObject({ code: 'ERR_VM_COMMAND' });
    await expect(client.write(0x1000n, Uint8Array.of(1))).rejects.toThrow('E14');
    client.close();
  });

  it.each([
    ['too few bytes', (client: GdbClient) => client.read(0n, 4), '0102'],
    ['no digits', (client: GdbClient) => client.read(0n, 1), 'xy'],
    ['something else to a write', (client: GdbClient) => client.write(0n, Uint8Array.of(1)), '01'],
  ])('that answers %s is not believed', async (_, ask, answer) => {
    const { client } = await connected(() => answer);
    await expect(ask(client)).rejects.toMatchObject({ code: 'ERR_VM_PROTOCOL' });
    client.close();
  });

  it.each([
    ['knows nothing of physical addresses', '', 'ERR_VM_REFUSED'],
    ['does not go to them', 'E22', 'ERR_VM_REFUSED'],
  ])('that %s is refused', async (_, answer, code) => {
    const peer = await fakePeer(nothing, (socket) => void socket.write(`+${encodePacket(answer)}`));
    await expect(GdbClient.connect(peer.path, QUICK)).rejects.toMatchObject({ code });
  });

  it('that says it is in the mode, and is not, is refused', async () => {
    const peer = await fakePeer(nothing, (socket, text) => {
      const isSet = text.includes('Qqemu');
      if (text.includes('$')) socket.write(`+${encodePacket(isSet ? 'OK' : '0')}`);
    });
    await expect(GdbClient.connect(peer.path, QUICK)).rejects.toMatchObject({ code: 'ERR_VM_REFUSED' });
  });

  it.each([
    ['says nothing', nothing, 'ERR_VM_TIMEOUT'],
    ['hangs up', (socket: Socket) => void socket.end(), 'ERR_VM_GONE'],
    ['sends what is no packet', (socket: Socket) => void socket.write('HTTP/1.1'), 'ERR_VM_PROTOCOL'],
    ['does not understand', (socket: Socket) => void socket.write('-'), 'ERR_VM_PROTOCOL'],
  ])('that %s is given up', async (_, greet, code) => {
    const peer = await fakePeer(greet);
    await expect(GdbClient.connect(peer.path, QUICK)).rejects.toMatchObject({ code });
  });

  it('that is silent once is not asked again: its answers could be taken for others', async () => {
    const { client } = await connected(() => null);
    await expect(client.read(0n, 1)).rejects.toMatchObject({ code: 'ERR_VM_TIMEOUT' });
    await expect(client.read(0n, 1)).rejects.toMatchObject({ code: 'ERR_VM_TIMEOUT' });
  });

  it('is asked for no more than fits into a packet', async () => {
    const { client } = await connected(() => 'OK');
    await expect(client.read(0n, 0)).rejects.toThrow(RangeError);
    await expect(client.read(0n, 1 << 20)).rejects.toThrow(RangeError);
    client.close();
  });
});
