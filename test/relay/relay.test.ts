import { fstatSync } from 'node:fs';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { READ_SIZE } from '../../src/relay/flow.ts';
import { type FlowEnd, Relay, type Side } from '../../src/relay/index.ts';
import type { Reactor, SocketBuffers, SocketEvents } from '../../src/transport/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { Bench, native, next, numbered, pair, readAsQemu, receive, sendAll, until } from './support.ts';

let before: string[];
beforeEach(() => {
  before = openFds();
});
afterEach(() => {
  expect(openFds()).toEqual(before);
});

/** Runs with a relay, and gives everything back. */
async function withBench(use: (bench: Bench) => Promise<void>, bench = new Bench()): Promise<void> {
  try {
    await use(bench);
  } finally {
    bench.close();
  }
}

/** An fd that can be told from others by the size of its file. */
function tagged(size: number): number {
  return native.memfd(`tag ${size}`, size, false);
}

function takeTag(fds: readonly number[]): number[] {
  return fds.map((fd) => {
    const { size } = fstatSync(fd);
    native.close(fd);
    return size;
  });
}

describe('what passes', () => {
  it('is the same at the other end, in both directions', () =>
    withBench(async ({ client, server, relay }) => {
      await sendAll(client, numbered(1, 4));
      expect(Buffer.from((await next(server)).bytes)).toEqual(numbered(1, 4));
      await sendAll(server, numbered(2, 100));
      expect(Buffer.from((await next(client)).bytes)).toEqual(numbered(2, 100));
      expect(relay.totals('client')).toEqual({ bytes: 20, fds: 0, understood: true, end: null });
      expect(relay.totals('server')).toEqual({ bytes: 116, fds: 0, understood: true, end: null });
    }));

  it('may be no message at all', () =>
    withBench(async ({ client, server, relay }) => {
      const garbage = Buffer.from('GET / HTTP/1.1\r\n\r\n\0\0\0\0\0\0\0\0\0');
      await sendAll(client, garbage);
      expect(Buffer.from((await next(server)).bytes)).toEqual(garbage);
      const zeros = Buffer.alloc(4096);
      await sendAll(server, zeros);
      expect(Buffer.from((await next(client)).bytes)).toEqual(zeros);
      expect(relay.totals('server').understood).toBe(false);
      const fd = tagged(77);
      await sendAll(server, Buffer.from('still no message'), [fd]);
      native.close(fd);
      const got = await next(client);
      expect(Buffer.from(got.bytes).toString()).toBe('still no message');
      expect(takeTag(got.fds)).toEqual([77]);
    }));

  it('goes on at once, also half a header', () =>
    withBench(async ({ client, server }) => {
      const message = numbered(3, 5);
      for (const byte of message) {
        await sendAll(client, Buffer.of(byte));
        expect([...(await next(server)).bytes]).toEqual([byte]);
      }
    }));

  it('keeps its fds with its message, wherever it is divided', () =>
    withBench(async ({ client, server }) => {
      const message = numbered(9, 16);
      for (let cut = 1; cut < message.length; cut += 1) {
        const fd = tagged(cut);
        await sendAll(client, message.subarray(0, cut), [fd]);
        native.close(fd);
        await sendAll(client, message.subarray(cut));
        const bytes: Uint8Array[] = [];
        const fds: number[] = [];
        while (Buffer.concat(bytes).length < message.length) {
          const got = await next(server);
          bytes.push(got.bytes);
          fds.push(...got.fds);
        }
        expect(Buffer.concat(bytes)).toEqual(message);
        expect(takeTag(fds)).toEqual([cut]);
      }
    }));

  it('gives QEMU, which reads headers first, each fd with its message and no part of a header', async () => {
    const message = fc.record({
      payload: fc.oneof(fc.integer({ min: 0, max: 64 }), fc.integer({ min: 0, max: 90_000 })),
      fds: fc.integer({ min: 0, max: 3 }),
    });
    const burst = fc.array(message, { minLength: 1, maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(burst, (messages) =>
        withBench(async ({ client, server }) => {
          const sending = sendBurst(client, messages);
          for (const [i, { payload, fds }] of messages.entries()) {
            const seen = await readAsQemu(server);
            expect(takeTag(seen.fds)).toEqual(Array.from({ length: fds }, (_, n) => 100 * i + n));
            expect(Buffer.compare(seen.bytes, numbered(i, payload))).toBe(0);
          }
          await sending;
        }),
      ),
      { numRuns: 25 },
    );
  });
});

async function sendBurst(
  to: number,
  messages: readonly { readonly payload: number; readonly fds: number }[],
): Promise<void> {
  for (const [i, { payload, fds }] of messages.entries()) {
    const tags = Array.from({ length: fds }, (_, n) => tagged(100 * i + n));
    await sendAll(to, numbered(i, payload), tags.length > 0 ? tags : null);
    for (const fd of tags) native.close(fd);
  }
}

describe('a side that does not read', () => {
  it('stops the other, and gets everything when it reads again', () =>
    withBench(async ({ client, server, relay }) => {
      const block = Buffer.alloc(1024 * 1024, 0xa5);
      let sent = 0;
      let stalled = 0;
      // Until nothing has been taken for many turns of the loop.
      while (stalled < 200) {
        const taken = native.send(client, block, 0, block.length, null, 0, 0, null);
        stalled = taken > 0 ? 0 : stalled + 1;
        sent += Math.max(0, taken);
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(sent).toBeLessThan(64 * 1024 * 1024);
      expect(relay.totals('client').bytes).toBeLessThan(sent);
      let got = 0;
      await until(() => {
        const { result, bytes } = receive(server);
        if (result > 0) {
          got += result;
          expect(bytes.every((byte) => byte === 0xa5)).toBe(true);
        }
        return got === sent;
      }, 'everything');
      expect(relay.totals('client').bytes).toBe(sent);
    }));

  it('does not stop what flows the other way', () =>
    withBench(async ({ client, server }) => {
      const block = Buffer.alloc(1024 * 1024);
      for (let stalled = 0; stalled < 100; stalled += 1) {
        if (native.send(client, block, 0, block.length, null, 0, 0, null) > 0) stalled = 0;
        await new Promise((resolve) => setImmediate(resolve));
      }
      await sendAll(server, numbered(5, 8));
      expect(Buffer.from((await next(client)).bytes)).toEqual(numbered(5, 8));
    }));
});

/** A tap that only remembers how the flows ended. */
function endings(): {
  readonly seen: [Side, FlowEnd][];
  passed(): void;
  ended(from: Side, end: FlowEnd): void;
} {
  const seen: [Side, FlowEnd][] = [];
  return { seen, passed() {}, ended: (from, end) => void seen.push([from, end]) };
}

describe('an end', () => {
  it('of the output of one side is passed on, and the other direction stays', () => {
    const tap = endings();
    return withBench(async (bench) => {
      await sendAll(bench.client, numbered(1, 4));
      native.shutdownHalf(bench.client, 1);
      expect((await next(bench.server)).result).toBe(20);
      expect((await next(bench.server)).result).toBe(0);
      await sendAll(bench.server, numbered(2, 4));
      expect((await next(bench.client)).result).toBe(20);
      expect(bench.ended).toBe(false);
      bench.closeEnd(bench.server);
      expect((await next(bench.client)).result).toBe(0);
      await until(() => bench.ended, 'the end of the relay');
      expect(tap.seen).toEqual([
        ['client', { kind: 'end of stream' }],
        ['server', { kind: 'end of stream' }],
      ]);
    }, new Bench(tap));
  });

  it.each(['client', 'server'] as const)('of the %s reaches the other side behind its last bytes', (side) =>
    withBench(async (bench) => {
      const dying = bench[side];
      const living = bench[side === 'client' ? 'server' : 'client'];
      const fd = tagged(5);
      await sendAll(dying, numbered(1, 4), [fd]);
      native.close(fd);
      bench.closeEnd(dying);
      const got = await next(living);
      expect(got.result).toBe(20);
      expect(takeTag(got.fds)).toEqual([5]);
      expect((await next(living)).result).toBe(0);
      await until(() => bench.ended, 'the end of the relay');
    }),
  );

  it('with bytes and fds that nobody takes any more leaves nothing open', () =>
    withBench(async (bench) => {
      const block = Buffer.alloc(1024 * 1024);
      for (let stalled = 0; stalled < 100; stalled += 1) {
        if (native.send(bench.client, block, 0, block.length, null, 0, 0, null) > 0) stalled = 0;
        await new Promise((resolve) => setImmediate(resolve));
      }
      bench.closeEnd(bench.server);
      await until(() => bench.ended, 'the end of the relay');
      expect(native.send(bench.client, block, 0, 1, null, 0, 0, null)).toBe(-32);
    }));

  it('of the input of one side makes the sends of the other fail', () =>
    withBench(async (bench) => {
      native.shutdownHalf(bench.server, 0);
      await until(
        () => native.send(bench.client, Buffer.alloc(16), 0, 16, null, 0, 0, null) === -32,
        'a refused send',
      );
      await sendAll(bench.server, numbered(1, 4));
      expect((await next(bench.client)).result).toBe(20);
    }));

  it('by close is told once, and closes both sockets', () =>
    withBench(async (bench) => {
      bench.relay.close();
      bench.relay.close();
      expect(bench.ended).toBe(true);
      expect((await next(bench.client)).result).toBe(0);
      expect((await next(bench.server)).result).toBe(0);
    }));
});

describe('a tap', () => {
  it('sees every byte and every fd after it has been sent, with whose they are', async () => {
    const seen: { from: Side; bytes: Buffer; sizes: number[]; at: number; arrived: number }[] = [];
    let server = -1;
    const bench = new Bench({
      passed: (from, bytes, fds, at) => {
        const arrived = receive(server);
        for (const fd of arrived.fds) native.close(fd);
        const sizes = fds.map((fd) => fstatSync(fd).size);
        seen.push({ from, bytes: Buffer.from(bytes), sizes, at, arrived: arrived.result });
      },
      ended() {},
    });
    server = bench.server;
    await withBench(async () => {
      const fd = tagged(31);
      const start = performance.now();
      await sendAll(bench.client, numbered(1, 4), [fd]);
      native.close(fd);
      await until(() => seen.length === 1, 'a piece');
      expect(seen[0]).toMatchObject({ from: 'client', bytes: numbered(1, 4), sizes: [31], arrived: 20 });
      expect(seen[0]?.at).toBeGreaterThanOrEqual(start);
    }, bench);
  });
});

/** A relay whose reads the test makes, one at a time. */
function stepwise(tap: ReturnType<typeof endings>) {
  const opened: { buffers: SocketBuffers; events: SocketEvents }[] = [];
  const fake: Reactor = {
    ...{ mode: 'event-loop', watch: none, after: none, every: none, defer() {} },
    open: (_fd, buffers, events) => {
      opened.push({ buffers, events });
      return { expect() {}, awaitWritable() {}, close() {} };
    },
  };
  const [client, relayClient] = pair();
  const [server, relayServer] = pair();
  const state = { ended: 0 };
  const relay = new Relay({
    ...{ native, reactor: fake, client: relayClient, server: relayServer, tap, spinMicroseconds: 0 },
    ended: () => {
      state.ended += 1;
    },
  });
  /** Has it receive once from the client, as much as it wants. */
  const step = (): void => {
    const [port] = opened;
    if (port === undefined) return;
    const { rx, fds } = port.buffers;
    port.events.received(native.receive(relayClient, rx, 0, READ_SIZE, fds, 0));
  };
  const close = (): void => {
    relay.close();
    for (const fd of [client, server]) native.close(fd);
  };
  return { client, server, state, step, close, fail: (result: number) => opened[0]?.events.received(result) };
}

const none = () => ({ close() {} });

describe('the end of a read', () => {
  it('divides no header that its sender has not divided', () => {
    for (let payload = 9; payload < 25; payload += 1) {
      const { client, server, step, close } = stepwise(endings());
      native.setSendBuffer(client, 4 * 1024 * 1024);
      const size = 16 + payload;
      const stream = Buffer.concat(
        Array.from({ length: Math.ceil(600_000 / size) }, () => numbered(1, payload)),
      );
      expect(native.send(client, stream, 0, stream.length, null, 0, 0, null)).toBe(stream.length);
      step();
      let got = 0;
      for (let count = receive(server).result; count > 0; count = receive(server).result) got += count;
      expect(got).toBeGreaterThanOrEqual(READ_SIZE);
      expect(got % size === 0 || got % size >= 16, `${got % size} bytes of a message`).toBe(true);
      close();
    }
  });

  it('passes on what its sender has divided', () => {
    const { client, server, step, close } = stepwise(endings());
    native.send(client, numbered(1, 4), 0, 7, null, 0, 0, null);
    step();
    expect(receive(server).result).toBe(7);
    close();
  });
});

describe('descriptors that the process has no room for', () => {
  it('end the connection on both sides: nothing after them would be what was sent', () => {
    const tap = endings();
    const { client, server, state, fail, close } = stepwise(tap);
    fail(-Errno.EMSGSIZE);
    expect(state.ended).toBe(1);
    expect(tap.seen).toEqual([
      ['client', { kind: 'lost', errno: Errno.EMSGSIZE }],
      ['server', { kind: 'lost', errno: Errno.EMSGSIZE }],
    ]);
    expect([receive(client).result, receive(server).result]).toEqual([0, 0]);
    close();
  });
});
