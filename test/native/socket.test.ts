import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { check } from '../../src/native/index.ts';
import {
  closeAll,
  expectNoFdLeak,
  native,
  POLLIN,
  POLLOUT,
  pair,
  receiveText,
  sendText,
  withDirectory,
} from './support.ts';

/** What connect(2) says of sockets of different types; not among the codes of the protocol. */
const EPROTOTYPE = 91;

expectNoFdLeak();

describe('listen, connect, accept', () => {
  it('connects two ends over a path', () => {
    withDirectory((directory) => {
      const path = join(directory, 'socket');
      const listener = check(native.listen(path, 0o600, 4), 'listen');
      expect(native.accept(listener)).toBe(-Errno.EAGAIN);
      const client = check(native.connect(path), 'connect');
      const server = check(native.accept(listener), 'accept');
      sendText(client, 'hello');
      expect(receiveText(server).text).toBe('hello');
      closeAll([listener, client, server]);
    });
  });

  it.each([0o600, 0o700, 0o400])('gives the file mode %o from the start', (mode) => {
    withDirectory((directory) => {
      const path = join(directory, 'socket');
      const listener = check(native.listen(path, mode, 1), 'listen');
      expect(statSync(path).mode & 0o777).toBe(mode);
      closeAll([listener]);
    });
  });

  it('refuses a path in use, one that is too long, an empty one, and one with a NUL', () => {
    withDirectory((directory) => {
      const path = join(directory, 'file');
      writeFileSync(path, '');
      expect(native.listen(path, 0o600, 1)).toBe(-Errno.EADDRINUSE);
      expect(native.listen(join(directory, 'missing', 'socket'), 0o600, 1)).toBe(-Errno.ENOENT);
      expect(native.connect(path)).toBe(-Errno.ECONNREFUSED);
      for (const act of [(p: string) => native.listen(p, 0o600, 1), (p: string) => native.connect(p)]) {
        expect(act(`/${'x'.repeat(107)}`)).toBe(-Errno.ENAMETOOLONG);
        expect(act('')).toBe(-Errno.EINVAL);
        expect(act('a\0b')).toBe(-Errno.EINVAL);
      }
    });
  });

  it.each([
    ['a path', (directory: string) => join(directory, 'missing'), -Errno.ENOENT, -Errno.ENOENT],
    ['what would be an abstract name', () => '@ferry-nobody-listens', -Errno.ENOENT, -Errno.ECONNREFUSED],
    ['an empty path', () => '', -Errno.EINVAL, -Errno.EINVAL],
  ])('takes %s for what it is to a stream and to a datagram socket', (_, nameIn, stream, datagram) => {
    withDirectory((directory) => {
      const name = nameIn(directory);
      expect([native.connect(name), native.connectDatagram(name)]).toEqual([stream, datagram]);
    });
  });

  it('connects a datagram socket to no stream', () => {
    withDirectory((directory) => {
      const path = join(directory, 'socket');
      const listener = check(native.listen(path, 0o600, 1), 'listen');
      expect(native.connectDatagram(path)).toBe(-EPROTOTYPE);
      closeAll([listener]);
    });
  });

  it('takes a path of 107 bytes, the longest there is', () => {
    withDirectory((directory) => {
      const path = join(directory, 'x'.repeat(107 - directory.length - 1));
      const listener = check(native.listen(path, 0o600, 1), 'listen');
      closeAll([check(native.connect(path), 'connect'), listener]);
    });
  });

  it('never waits for a listener whose backlog is full', () => {
    withDirectory((directory) => {
      const path = join(directory, 'socket');
      const fds = [check(native.listen(path, 0o600, 0), 'listen')];
      let last = native.connect(path);
      for (; last >= 0; last = native.connect(path)) fds.push(last);
      expect(last).toBe(-Errno.EAGAIN);
      closeAll(fds);
    });
  });

  it('tells who the peer is', () => {
    const ends = pair();
    const who = new Int32Array(3);
    expect(native.peerCredentials(ends[0], who)).toBe(0);
    expect([...who]).toEqual([process.pid, process.getuid?.(), process.getgid?.()]);
    closeAll(ends);
  });
});

describe('waiting', () => {
  const timed = (action: () => number) => {
    const start = performance.now();
    const result = action();
    return { result, elapsed: performance.now() - start };
  };
  const wait = (fd: number, waitMs: number) =>
    timed(() => native.receive(fd, new Uint8Array(8), 0, 8, new Int32Array(1), waitMs));

  it('does not wait for data that is there', () => {
    const ends = pair();
    sendText(ends[0], 'abc');
    expect(wait(ends[1], 60_000).result).toBe(3);
    closeAll(ends);
  });

  it('gives up after the time it was given', () => {
    const ends = pair();
    const { result, elapsed } = wait(ends[1], 30);
    expect(result).toBe(-Errno.EAGAIN);
    expect(elapsed).toBeGreaterThanOrEqual(29);
    closeAll(ends);
  });

  it('waits inside the system call on a blocking socket, as long as its limit', () => {
    const ends = pair();
    check(native.setBlocking(ends[1], 40), 'setBlocking');
    const { result, elapsed } = wait(ends[1], -1);
    expect(result).toBe(-Errno.EAGAIN);
    expect(elapsed).toBeGreaterThanOrEqual(39);
    sendText(ends[0], 'abc');
    expect(wait(ends[1], -1).result).toBe(3);
    expect(wait(ends[1], 0).result).toBe(-Errno.EAGAIN);
    closeAll(ends);
  });

  it('does not wait any more once the socket is non-blocking again', () => {
    const ends = pair();
    check(native.setBlocking(ends[1], 60_000), 'setBlocking');
    check(native.setBlocking(ends[1], 0), 'setBlocking');
    expect(wait(ends[1], -1).result).toBe(-Errno.EAGAIN);
    expect(native.setBlocking(-1, 0)).toBe(-Errno.EBADF);
    closeAll(ends);
  });

  it('never blocks a send, also on a blocking socket', () => {
    const ends = pair();
    check(native.setBlocking(ends[0], 60_000), 'setBlocking');
    const chunk = new Uint8Array(1 << 16);
    let last = 0;
    while (last >= 0) last = native.send(ends[0], chunk, 0, chunk.length, null, 0, 0, null);
    expect(last).toBe(-Errno.EAGAIN);
    closeAll(ends);
  });

  it('polls several descriptors', () => {
    const [a, b] = [pair(), pair()];
    sendText(b[0], 'x');
    const set = Int32Array.of(a[1], POLLIN, -1, b[1], POLLIN | POLLOUT, -1);
    expect(native.poll(set, 2, -1)).toBe(1);
    expect([set[2], set[5]]).toEqual([0, POLLIN | POLLOUT]);
    expect(timed(() => native.poll(set, 1, 20))).toMatchObject({ result: 0 });
    expect(() => native.poll(set, 3, 0)).toThrow(RangeError);
    closeAll([...a, ...b]);
  });
});
