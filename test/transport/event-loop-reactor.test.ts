import { afterEach, describe, expect, it } from 'vitest';
import { EventLoopReactor, type SocketPort } from '../../src/transport/index.ts';
import { buffers, native, pause, sendAll, socketpair, until } from './support.ts';

const reactor = new EventLoopReactor(native);
const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const run of cleanup.splice(0).toReversed()) run();
});

/** A port on one end of a pair that collects what it receives. */
function openPort(received: (result: number) => void = () => {}, writable: () => void = () => {}) {
  const [fd, peer] = socketpair();
  const rx = new Uint8Array(1 << 16);
  const results: number[] = [];
  const port: SocketPort = reactor.open(fd, buffers(rx), {
    received: (result) => {
      results.push(result);
      received(result);
    },
    writable,
  });
  cleanup.push(() => {
    port.close();
    native.close(fd);
    native.close(peer);
  });
  return { fd, peer, port, rx, results };
}

describe('EventLoopReactor', () => {
  it('receives where the owner expects it', async () => {
    const { peer, port, rx, results } = openPort();
    sendAll(peer, Buffer.from('one'));
    await until(() => results.length === 1, 'data');
    port.expect(100, 2);
    sendAll(peer, Buffer.from('two'));
    await until(() => results.length === 3, 'data in two parts');
    expect(results).toEqual([3, 2, 1]);
    expect(Buffer.from(rx.subarray(0, 3)).toString()).toBe('one');
    expect(Buffer.from(rx.subarray(100, 102)).toString()).toBe('ow'); // "tw", then "o" over its beginning
  });

  it('stops reading when nothing is expected, and goes on when something is', async () => {
    const { peer, port, results } = openPort();
    port.expect(0, 0);
    sendAll(peer, Buffer.from('waits'));
    await pause();
    expect(results).toEqual([]);
    port.expect(0, 100);
    await until(() => results.length === 1, 'data');
    expect(results).toEqual([5]);
  });

  it('reports the end of the stream once', async () => {
    const { peer, results } = openPort();
    native.shutdown(peer);
    await until(() => results.length > 0, 'the end');
    await pause();
    expect(results).toEqual([0]);
  });

  it('says when the socket takes data, only while asked to', async () => {
    let calls = 0;
    const { port } = openPort(undefined, () => {
      calls += 1;
      port.awaitWritable(false);
    });
    await pause(5);
    expect(calls).toBe(0);
    port.awaitWritable(true);
    await until(() => calls === 1, 'writable');
    await pause(5);
    expect(calls).toBe(1);
  });

  it('calls nobody after a port was closed, also inside its own callback', async () => {
    const { peer, port, results } = openPort(() => port.close());
    sendAll(peer, Buffer.from('a'));
    await until(() => results.length === 1, 'data');
    sendAll(peer, Buffer.from('b'));
    port.close();
    port.expect(0, 10);
    port.awaitWritable(true);
    await pause();
    expect(results).toEqual([1]);
  });

  it('lets timers run while one connection never pauses', async () => {
    let rounds = 0;
    let ticks = 0;
    const { peer } = openPort(() => {
      rounds += 1;
      if (ticks < 3) sendAll(peer, Buffer.from('again'));
    });
    const timer = reactor.every(2, () => {
      ticks += 1;
    });
    cleanup.push(() => timer.close());
    sendAll(peer, Buffer.from('go'));
    await until(() => ticks >= 3, 'ticks');
    expect(rounds).toBeGreaterThan(10);
  });

  it('runs promise jobs after every message', async () => {
    const order: string[] = [];
    const { peer, port, results } = openPort(() => {
      order.push(`message ${results.length}`);
      port.expect(0, 1);
      queueMicrotask(() => order.push(`job ${results.length}`));
    });
    port.expect(0, 1);
    sendAll(peer, Buffer.from('ab'));
    await until(() => results.length === 2, 'both');
    await pause(1);
    expect(order).toEqual(['message 1', 'job 1', 'message 2', 'job 2']);
  });

  it('watches a readable fd until told otherwise', async () => {
    const eventfd = native.eventfd(0);
    cleanup.push(() => native.close(eventfd));
    let fired = 0;
    const watch = reactor.watch(eventfd, () => {
      fired += native.eventfdRead(eventfd);
    });
    native.eventfdSignal(eventfd, 3);
    await until(() => fired === 3, 'the signal');
    watch.close();
    native.eventfdSignal(eventfd, 1);
    await pause(5);
    watch.close();
    expect(fired).toBe(3);
  });

  it('has timers that can be stopped', async () => {
    const fired: string[] = [];
    reactor.after(1, () => fired.push('stopped')).close();
    reactor.after(3, () => fired.push('once'));
    const every = reactor.every(2, () => fired.push('every'));
    await until(
      () => fired.filter((each) => each === 'every').length === 2 && fired.includes('once'),
      'timers',
    );
    every.close();
    const count = fired.length;
    await pause(8);
    expect(fired).toHaveLength(count);
    expect(fired).not.toContain('stopped');
  });

  it('defers a job to the end of the current callback', async () => {
    const order: string[] = [];
    reactor.defer(() => order.push('deferred'));
    order.push('first');
    await Promise.resolve();
    expect(order).toEqual(['first', 'deferred']);
  });

  it('says why an fd can not be read', () => {
    const target = buffers(new Uint8Array(8));
    const events = { received: () => {}, writable: () => {} };
    expect(() => reactor.open(-1, target, events)).toThrow(expect.objectContaining({ code: 'ERR_NATIVE' }));
    expect(() => reactor.watch(-1, () => {})).toThrow(expect.objectContaining({ code: 'ERR_NATIVE' }));
  });
});
