import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { Cleanup, connectFake, type FakeServer, LIBVFIO_USER_JSON, native } from './fake-server.ts';

const cleanup = new Cleanup();
let before: string[] = [];
const eventfds: number[] = [];
beforeEach(() => {
  before = openFds();
  eventfds.push(...Array.from({ length: 20 }, () => native.eventfd(0)));
});
afterEach(() => {
  cleanup.run();
  for (const fd of eventfds.splice(0)) native.close(fd);
  expect(openFds()).toEqual(before);
});

/** Answers SET_IRQS until `count` have come; [flags, index, start, count, fds] of each. */
async function collect(server: FakeServer, count: number): Promise<number[][]> {
  const seen: number[][] = [];
  for (let i = 0; i < count; i += 1) {
    const { payload, fds } = await server.serve();
    const view = Buffer.from(payload);
    seen.push([...[4, 8, 12, 16].map((at) => view.readUInt32LE(at)), fds.length]);
    for (const fd of fds) native.close(fd);
  }
  return seen;
}

describe('SET_IRQS', () => {
  it('sends as many eventfds in a message as the server takes', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    const result = client.setIrq(2, 3, eventfds);
    expect(await collect(server, 3)).toEqual([
      [0x24, 2, 3, 8, 8],
      [0x24, 2, 11, 8, 8],
      [0x24, 2, 19, 4, 4],
    ]);
    await result;
  });

  it('sends one at a time to a server that says nothing of fds', async () => {
    const { client, server } = await connectFake(cleanup, '{}');
    const result = client.setIrq(2, 0, eventfds.slice(0, 2));
    expect(await collect(server, 2)).toEqual([
      [0x24, 2, 0, 1, 1],
      [0x24, 2, 1, 1, 1],
    ]);
    await result;
  });

  it('cuts a list with gaps into runs with and without eventfds', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    const [a = -1, b = -1, c = -1] = eventfds;
    const result = client.setIrq(2, 0, [null, null, a, b, null, c]);
    expect(await collect(server, 4)).toEqual([
      [0x24, 2, 0, 2, 0],
      [0x24, 2, 2, 2, 2],
      [0x24, 2, 4, 1, 0],
      [0x24, 2, 5, 1, 1],
    ]);
    await result;
  });

  it('sends nothing for no vectors', async () => {
    const { client, server } = await connectFake(cleanup);
    await client.setIrq(2, 0, []);
    expect(await server.raw.receives(() => true, 5)).toBe(false);
  });

  it('stops at the first refusal', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    const caught = expect(client.setIrq(2, 0, eventfds)).rejects.toMatchObject({ errno: Errno.EINVAL });
    const request = await server.next();
    for (const fd of request.fds) native.close(fd);
    server.refuse(request, Errno.EINVAL);
    await caught;
    expect(await server.raw.receives(() => true, 5)).toBe(false);
  });

  it('can take eventfds away from, but not give any to, a server that takes no fds', async () => {
    const { client, server } = await connectFake(cleanup, '{"capabilities":{"max_msg_fds":0}}');
    await expect(client.setIrq(2, 0, eventfds)).rejects.toMatchObject({ code: 'ERR_NOT_NEGOTIATED' });
    const result = client.setIrq(2, 0, [null, null]);
    expect(await collect(server, 1)).toEqual([[0x24, 2, 0, 2, 0]]);
    await result;
  });

  it.each([
    ['of no vectors', 0, 0],
    ['beyond 32 bits', 0xffff_ffff, 1],
  ])('refuses to mask a range %s', async (_, start, count) => {
    const { client } = await connectFake(cleanup);
    await expect(client.maskIrq(2, start, count)).rejects.toMatchObject({ errno: Errno.EINVAL });
  });
});

describe('enabling interrupts', () => {
  it('calls the listener with the vector and how often it fired', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    const fired: [number, number][] = [];
    const enabling = client.enableInterrupts(2, 3, (vector, times) => fired.push([vector, times]));
    const { fds } = await server.serve();
    await enabling;
    native.eventfdSignal(fds[1] ?? -1, 1);
    native.eventfdSignal(fds[1] ?? -1, 4);
    native.eventfdSignal(fds[2] ?? -1, 1);
    for (let turn = 0; turn < 500 && fired.length < 2; turn += 1) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(fired.toSorted()).toEqual([
      [1, 5],
      [2, 1],
    ]);
    for (const fd of fds) native.close(fd);
  });

  it('delivers what fired before the server has answered', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    const fired: number[] = [];
    const enabling = client.enableInterrupts(0, 1, (vector) => fired.push(vector));
    const request = await server.next();
    native.eventfdSignal(request.fds[0] ?? -1, 1);
    server.answer(request);
    await enabling;
    for (let turn = 0; turn < 500 && fired.length < 1; turn += 1) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect(fired).toEqual([0]);
    for (const fd of request.fds) native.close(fd);
  });

  it('leaves nothing behind when the server refuses', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    const during = openFds().length;
    const caught = expect(client.enableInterrupts(2, 4, () => {})).rejects.toMatchObject({
      errno: Errno.EINVAL,
    });
    const request = await server.next();
    for (const fd of request.fds) native.close(fd);
    server.refuse(request, Errno.EINVAL);
    await caught;
    expect(openFds()).toHaveLength(during);
  });

  it('leaves nothing behind when there are not enough fds', async () => {
    let left = 2;
    const eventfd = (initial: number): number => {
      left -= 1;
      return left < 0 ? -Errno.EMFILE : native.eventfd(initial);
    };
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON, {}, { eventfd });
    const during = openFds().length;
    await expect(client.enableInterrupts(2, 4, () => {})).rejects.toMatchObject({ errno: Errno.EMFILE });
    expect(openFds()).toHaveLength(during);
    expect(await server.raw.receives(() => true, 5)).toBe(false);
  });

  it('ends with disabling them, even when the server refuses that', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    const during = openFds().length;
    const fired: number[] = [];
    const enabling = client.enableInterrupts(2, 2, (vector) => fired.push(vector));
    const { fds } = await server.serve();
    await enabling;
    const caught = expect(client.disableInterrupts(2)).rejects.toMatchObject({ errno: Errno.EIO });
    server.refuse(await server.next(), Errno.EIO);
    await caught;
    native.eventfdSignal(fds[0] ?? -1, 1);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(fired).toEqual([]);
    for (const fd of fds) native.close(fd);
    expect(openFds()).toHaveLength(during);
  });

  it('gives up the eventfds of before when it is done again', async () => {
    const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
    const fired: string[] = [];
    const seen: number[] = [];
    for (const name of ['first', 'second']) {
      const enabling = client.enableInterrupts(2, 1, () => fired.push(name));
      seen.push(...(await server.serve()).fds);
      await enabling;
    }
    for (const fd of seen) native.eventfdSignal(fd, 1);
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(fired).toEqual(['second']);
    for (const fd of seen) native.close(fd);
  });
});
