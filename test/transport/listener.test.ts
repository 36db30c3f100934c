import {
  chmodSync,
  existsSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import type { Native } from '../../src/native/index.ts';
import {
  type Closeable,
  connect,
  EventLoopReactor,
  listen,
  MAX_SOCKET_PATH,
} from '../../src/transport/index.ts';
import { openFds } from '../helpers/open-fds.ts';
import { native, pause, until } from './support.ts';

let folder = '';
let path = '';
const open: Closeable[] = [];
const fds: number[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-listen-'));
  path = join(folder, 'sock');
});
afterEach(() => {
  for (const each of open.splice(0)) each.close();
  for (const fd of fds.splice(0)) native.close(fd);
  rmSync(folder, { recursive: true, force: true });
});

function start(
  options: { at?: string; mode?: number; face?: Native; accepted?: (fd: number) => void } = {},
): Closeable {
  const face = options.face ?? native;
  const listener = listen({
    native: face,
    reactor: new EventLoopReactor(face),
    path: options.at ?? path,
    mode: options.mode ?? 0o600,
    accepted: options.accepted ?? ((fd) => fds.push(fd)),
  });
  open.push(listener);
  return listener;
}

function dial(): number {
  const fd = connect(native, path);
  fds.push(fd);
  return fd;
}

/** Leaves a socket file behind on which nobody listens. */
function crash(): void {
  const fd = native.listen(path, 0o600, 1);
  native.close(fd);
  expect(statSync(path).isSocket()).toBe(true);
}

describe('listen', () => {
  it('accepts everybody who connects', async () => {
    const accepted: number[] = [];
    start({ accepted: (fd) => accepted.push(fd) });
    dial();
    dial();
    await until(() => accepted.length === 2, 'two connections');
    fds.push(...accepted);
  });

  it.each([0o600, 0o660])('gives the socket file mode %o from the start', (mode) => {
    start({ mode });
    expect(statSync(path).mode & 0o777).toBe(mode & ~process.umask());
  });

  it('replaces the file that a crashed server left behind', async () => {
    crash();
    const accepted: number[] = [];
    start({ accepted: (fd) => accepted.push(fd) });
    dial();
    await until(() => accepted.length === 1, 'a connection');
    fds.push(...accepted);
  });

  it('refuses a path on which a server lives, and does not disturb it', async () => {
    const accepted: number[] = [];
    start({ accepted: (fd) => accepted.push(fd) });
    expect(() => start()).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_IN_USE', errno: Errno.EADDRINUSE }),
    );
    dial();
    await until(() => accepted.length === 2, 'the connection, and the probe');
    fds.push(...accepted);
  });

  it('refuses a path on which a server lives whose backlog is full', () => {
    const fd = native.listen(path, 0o600, 0);
    fds.push(fd);
    dial();
    expect(() => start()).toThrow(expect.objectContaining({ code: 'ERR_SOCKET_IN_USE' }));
    expect(existsSync(path)).toBe(true);
  });

  it.each([
    ['a file', () => writeFileSync(path, 'precious')],
    ['a link to a socket', () => symlinkSync('elsewhere', path)],
  ])('leaves %s alone that is in the way', (_, make) => {
    crash();
    renameSync(path, join(folder, 'elsewhere'));
    make();
    expect(() => start()).toThrow(expect.objectContaining({ code: 'ERR_SOCKET_IN_USE' }));
    expect(existsSync(path)).toBe(true);
  });

  it.each([
    ['empty', () => ''],
    ['a byte too long', () => join(folder, 'x'.repeat(MAX_SOCKET_PATH - Buffer.byteLength(folder)))],
    ['too long in bytes though not in characters', () => join(folder, 'ü'.repeat(50))],
    ['with a NUL inside', () => `${path}\0x`],
  ])('refuses a path that is %s', (_, at) => {
    const error = expect.objectContaining({ code: 'ERR_SOCKET_PATH', errno: Errno.ENAMETOOLONG });
    expect(() => start({ at: at() })).toThrow(error);
    expect(() => connect(native, at())).toThrow(error);
  });

  it('takes the longest path there can be', () => {
    const at = join(folder, 'x'.repeat(MAX_SOCKET_PATH - 1 - Buffer.byteLength(folder)));
    start({ at }).close();
    expect(existsSync(at)).toBe(false);
  });

  it('says what the kernel says about a folder that is not there', () => {
    const at = join(folder, 'no', 'sock');
    expect(() => start({ at })).toThrow(
      expect.objectContaining({ code: 'ERR_SOCKET_LISTEN', errno: Errno.ENOENT }),
    );
  });

  it('removes its file when it closes, once', () => {
    const listener = start();
    listener.close();
    expect(existsSync(path)).toBe(false);
    writeFileSync(path, 'somebody else');
    listener.close();
    expect(existsSync(path)).toBe(true);
  });

  it('leaves a file alone that is not its own any more', () => {
    const listener = start();
    unlinkSync(path);
    const other = start();
    listener.close();
    expect(existsSync(path)).toBe(true);
    other.close();
    expect(existsSync(path)).toBe(false);
  });

  it('closes quietly when its file is gone', () => {
    const listener = start();
    unlinkSync(path);
    expect(() => listener.close()).not.toThrow();
  });

  it('may be closed by whoever it has just accepted, and accepts nobody else', async () => {
    let accepted = 0;
    const listener = start({
      accepted: (fd) => {
        accepted += 1;
        fds.push(fd);
        listener.close();
      },
    });
    dial();
    dial();
    await until(() => accepted > 0, 'a connection');
    await pause();
    expect(accepted).toBe(1);
  });

  it('pauses when it can not accept, instead of running hot, and goes on afterwards', async () => {
    let calls = 0;
    let broken = true;
    const accept = (listener: number): number => {
      calls += 1;
      return broken ? -Errno.EMFILE : native.accept(listener);
    };
    const accepted: number[] = [];
    start({ face: { ...native, accept }, accepted: (fd) => accepted.push(fd) });
    dial();
    await pause(50);
    expect(calls).toBeLessThan(5);
    broken = false;
    await until(() => accepted.length === 1, 'the connection');
    fds.push(...accepted);
  });

  it('leaves no fd behind', () => {
    const before = openFds();
    start().close();
    expect(() => start({ at: '' })).toThrow();
    expect(openFds()).toEqual(before);
  });
});

describe('connect', () => {
  it.each([
    ['nothing is there', () => {}, Errno.ENOENT, 'is the server running'],
    ['nobody listens any more', crash, Errno.ECONNREFUSED, 'left its socket file behind'],
  ])('says what it means that %s', (_, prepare, errno, hint) => {
    prepare();
    const error = expect.objectContaining({
      code: 'ERR_SOCKET',
      errno,
      message: expect.stringContaining(hint),
    });
    expect(() => connect(native, path)).toThrow(error);
  });

  it.skipIf(process.getuid?.() === 0)('says what it means that it may not', () => {
    start();
    chmodSync(path, 0);
    const error = expect.objectContaining({
      errno: Errno.EACCES,
      message: expect.stringContaining('owner and mode'),
    });
    expect(() => connect(native, path)).toThrow(error);
  });

  it('says that the server does not accept when its backlog is full', () => {
    fds.push(native.listen(path, 0o600, 0));
    dial();
    const error = expect.objectContaining({
      errno: Errno.EAGAIN,
      message: expect.stringContaining('does not accept'),
    });
    expect(() => connect(native, path)).toThrow(error);
  });
});
