import { afterEach, describe, expect, it } from 'vitest';
import type { Native } from '../../src/native/index.ts';
import { DedicatedReactor, type SocketPort } from '../../src/transport/index.ts';
import { buffers, native, sendAll, socketpair } from './support.ts';

const cleanup: (() => void)[] = [];
afterEach(() => {
  for (const run of cleanup.splice(0).toReversed()) run();
});

function openPort(reactor: DedicatedReactor, received: (result: number, port: SocketPort) => void) {
  const [fd, peer] = socketpair();
  const rx = new Uint8Array(1 << 16);
  const writable = { calls: 0 };
  const port: SocketPort = reactor.open(fd, buffers(rx), {
    received: (result) => received(result, port),
    writable: () => {
      writable.calls += 1;
      port.awaitWritable(false);
    },
  });
  const close = (): void => {
    port.close();
    native.close(fd);
    native.close(peer);
  };
  cleanup.push(close);
  return { fd, peer, port, rx, writable };
}

function eventfd(): number {
  const fd = native.eventfd(0);
  cleanup.push(() => native.close(fd));
  return fd;
}

/** Counts the calls of a system call. */
function counting(name: 'poll' | 'receive'): { face: Native; calls: () => number } {
  let calls = 0;
  const face: Native = {
    ...native,
    [name]: (...args: never[]) => {
      calls += 1;
      const call: (...given: never[]) => number = native[name];
      return call(...args);
    },
  };
  return { face, calls: () => calls };
}

describe('DedicatedReactor', () => {
  it('blocks until something is done, or the time is over', () => {
    const reactor = new DedicatedReactor(native);
    let done = false;
    reactor.after(10, () => {
      done = true;
    });
    expect(reactor.runUntil(() => done, 60_000)).toBe(true);
    const start = performance.now();
    expect(reactor.runUntil(() => false, 30)).toBe(false);
    const took = performance.now() - start;
    expect(took).toBeGreaterThanOrEqual(29);
    expect(took).toBeLessThan(30_000);
  });

  it('does not wait for what is done already, but runs what was deferred', () => {
    const reactor = new DedicatedReactor(native);
    const order: string[] = [];
    reactor.defer(() => {
      order.push('job');
      reactor.defer(() => order.push('job of the job'));
    });
    expect(reactor.runUntil(() => true, 0)).toBe(true);
    expect(order).toEqual(['job', 'job of the job']);
  });

  it('waits for one socket with receives alone', () => {
    const { face, calls } = counting('poll');
    const reactor = new DedicatedReactor(face);
    let left = 10;
    const { peer } = openPort(reactor, () => {
      left -= 1;
      if (left > 0) sendAll(peer, Buffer.from('again'));
    });
    sendAll(peer, Buffer.from('go'));
    expect(reactor.runUntil(() => left === 0, 60_000)).toBe(true);
    expect(calls()).toBe(0);
  });

  it('serves several sockets', () => {
    const reactor = new DedicatedReactor(native);
    const results: string[] = [];
    const ports = ['a', 'b', 'c'].map((name) =>
      openPort(reactor, (result) => results.push(`${name}${result}`)),
    );
    for (const [i, { peer }] of ports.entries()) sendAll(peer, Buffer.alloc(i + 1));
    expect(reactor.runUntil(() => results.length === 3, 60_000)).toBe(true);
    expect(results.toSorted()).toEqual(['a1', 'b2', 'c3']);
  });

  it('looks at watches and timers while one socket never pauses', () => {
    const reactor = new DedicatedReactor(native);
    let rounds = 0;
    let ticks = 0;
    let fired = 0;
    const { peer } = openPort(reactor, () => {
      rounds += 1;
      sendAll(peer, Buffer.from('again'));
    });
    const fd = eventfd();
    reactor.watch(fd, () => {
      fired += native.eventfdRead(fd);
    });
    const timer = reactor.every(1, () => {
      ticks += 1;
    });
    sendAll(peer, Buffer.from('go'));
    native.eventfdSignal(fd, 1);
    expect(reactor.runUntil(() => fired === 1, 60_000)).toBe(true);
    expect(rounds).toBeLessThanOrEqual(300);
    expect(reactor.runUntil(() => ticks >= 3, 60_000)).toBe(true);
    timer.close();
  });

  it('looks at watches within a slice while its socket is idle', () => {
    const reactor = new DedicatedReactor(native);
    openPort(reactor, () => {});
    const fd = eventfd();
    let fired = 0;
    reactor.watch(fd, () => {
      fired += native.eventfdRead(fd);
    });
    native.eventfdSignal(fd, 1);
    const start = performance.now();
    expect(reactor.runUntil(() => fired === 1, 60_000)).toBe(true);
    expect(performance.now() - start).toBeLessThan(30_000);
  });

  it('calls a closed watch no more, also when it was ready together with the one that closed it', () => {
    const reactor = new DedicatedReactor(native);
    const fired: string[] = [];
    const [a, b] = [eventfd(), eventfd()];
    const first = reactor.watch(a, () => {
      fired.push('a');
      first.close();
      second.close();
    });
    const second = reactor.watch(b, () => fired.push('b'));
    native.eventfdSignal(a, 1);
    native.eventfdSignal(b, 1);
    reactor.runUntil(() => false, 20);
    expect(fired).toEqual(['a']);
  });

  it('runs timers in time, periodic ones again and closed ones never', () => {
    const reactor = new DedicatedReactor(native);
    const fired: string[] = [];
    reactor.after(2, () => fired.push('once'));
    reactor.after(1, () => fired.push('stopped')).close();
    const every = reactor.every(3, () => {
      fired.push('every');
      if (rounds() === 3) every.close();
    });
    const rounds = (): number => fired.filter((each) => each === 'every').length;
    reactor.runUntil(() => rounds() === 3 && fired.includes('once'), 20_000);
    reactor.runUntil(() => false, 10);
    expect(rounds()).toBe(3);
    expect(fired.filter((each) => each === 'once')).toHaveLength(1);
    expect(fired).not.toContain('stopped');
  });

  it('does not run a timer that another due at the same time has closed', () => {
    const reactor = new DedicatedReactor(native);
    const fired: string[] = [];
    reactor.after(1, () => {
      fired.push('first');
      second.close();
    });
    const second = reactor.after(1, () => fired.push('second'));
    reactor.runUntil(() => false, 10);
    expect(fired).toEqual(['first']);
  });

  it('says when a socket takes data, only while asked to', () => {
    const reactor = new DedicatedReactor(native);
    const { port, writable } = openPort(reactor, () => {});
    reactor.runUntil(() => false, 5);
    expect(writable.calls).toBe(0);
    port.awaitWritable(true);
    expect(reactor.runUntil(() => writable.calls === 1, 60_000)).toBe(true);
    reactor.runUntil(() => false, 5);
    expect(writable.calls).toBe(1);
  });

  it('does not read a paused socket, and goes on where the owner expects it', () => {
    const reactor = new DedicatedReactor(native);
    const results: number[] = [];
    const { peer, port, rx } = openPort(reactor, (result) => results.push(result));
    port.expect(0, 0);
    sendAll(peer, Buffer.from('hello'));
    reactor.runUntil(() => false, 10);
    expect(results).toEqual([]);
    port.expect(10, 3);
    reactor.runUntil(() => results.length === 2, 1000);
    expect(results).toEqual([3, 2]);
    expect(Buffer.from(rx.subarray(10, 13)).toString()).toBe('lol'); // "hel", then "lo" over its beginning
  });

  it('sleeps while a paused socket has lost its peer', () => {
    const { face, calls } = counting('poll');
    const reactor = new DedicatedReactor(face);
    const { peer, port } = openPort(reactor, () => {});
    port.expect(0, 0);
    native.shutdown(peer);
    reactor.runUntil(() => false, 30);
    expect(calls()).toBeLessThan(5);
  });

  it('reads no more into what is being handled when the handler runs it itself', () => {
    const reactor = new DedicatedReactor(native);
    const outer: string[] = [];
    const inner: number[] = [];
    const other = openPort(reactor, (result) => inner.push(result));
    const { peer, port, rx } = openPort(reactor, (result) => {
      sendAll(peer, Buffer.from('NEXT'));
      sendAll(other.peer, Buffer.from('x'));
      if (outer.length === 0) expect(reactor.runUntil(() => inner.length === 1, 1000)).toBe(true);
      outer.push(Buffer.from(rx.subarray(0, result)).toString());
      port.expect(0, rx.length);
    });
    sendAll(peer, Buffer.from('first'));
    reactor.runUntil(() => outer.length === 2, 1000);
    expect(outer).toEqual(['first', 'NEXT']);
  });

  it('forgets a port that was closed inside its own callback', () => {
    const reactor = new DedicatedReactor(native);
    let calls = 0;
    const { peer } = openPort(reactor, (_, port) => {
      calls += 1;
      port.close();
    });
    sendAll(peer, Buffer.from('a'));
    sendAll(peer, Buffer.from('b'));
    reactor.runUntil(() => false, 10);
    expect(calls).toBe(1);
  });
});
