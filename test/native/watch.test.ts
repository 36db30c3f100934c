import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { check, type WatchHandle } from '../../src/native/index.ts';
import {
  closeAll,
  expectNoFdLeak,
  native,
  pair,
  receiveText,
  runChild,
  sendText,
  turns,
  until,
} from './support.ts';

expectNoFdLeak();

const watch = (fd: number, onReadable: () => void): WatchHandle =>
  check<WatchHandle>(native.watchStart(fd, onReadable), 'watchStart');

describe('watch', () => {
  it('calls back for as long as an eventfd is readable', async () => {
    const fd = native.eventfd(0);
    const counts: number[] = [];
    let calls = 0;
    const handle = watch(fd, () => {
      if (++calls > 2) counts.push(native.eventfdRead(fd));
    });
    native.eventfdSignal(fd, 7);
    await until(() => counts.length === 1);
    await turns();
    expect({ calls, counts }).toEqual({ calls: 3, counts: [7] });
    native.watchClose(handle);
    closeAll([fd]);
  });

  it('is over inside its own callback when closed there, also when repeated', async () => {
    const fd = native.eventfd(1);
    let calls = 0;
    const handle = watch(fd, () => {
      calls++;
      native.watchClose(handle);
      native.watchClose(handle);
    });
    await turns();
    expect(calls).toBe(1);
    native.watchClose(handle);
    closeAll([fd]);
  });

  it('tells of an error, and goes on after it', async () => {
    const ends = pair();
    sendText(ends[1], 'never read');
    closeAll([ends[0]]);
    const results: number[] = [];
    const handle = watch(ends[1], () => {
      results.push(receiveText(ends[1]).result);
      if (results.length === 2) native.watchClose(handle);
    });
    await until(() => results.length === 2);
    expect(results).toEqual([-Errno.ECONNRESET, 0]);
    closeAll([ends[1]]);
  });

  it('goes on after its callback threw', async () => {
    const code = `
      process.on('uncaughtException', (error) => say('caught ' + error.message));
      const fd = native.eventfd(1);
      let calls = 0;
      const handle = native.watchStart(fd, () => {
        if (++calls === 2) native.watchClose(handle);
        throw new Error(String(calls));
      });`;
    expect((await runChild(code)).output).toBe('caught 1\ncaught 2\n');
  });

  it('tells that a peer hung up', async () => {
    const ends = pair();
    let calls = 0;
    const handle = watch(ends[1], () => {
      calls++;
      native.watchClose(handle);
    });
    closeAll([ends[0]]);
    await until(() => calls === 1);
    closeAll([ends[1]]);
  });

  it('refuses regular files, closed fds and wrong arguments', () => {
    const memory = native.memfd('ferry-watch', 0, false);
    expect(native.watchStart(memory, () => {})).toBe(-Errno.EPERM);
    expect(native.watchStart(-1, () => {})).toBe(-Errno.EBADF);
    expect(() => Reflect.apply(native.watchStart, native, [memory, null])).toThrow(TypeError);
    closeAll([memory]);
  });

  it('does not hold the process when unreferenced', async () => {
    const code = `const handle = native.watchStart(native.eventfd(0), () => {}); native.setReferenced(handle, false);`;
    expect(await runChild(code)).toMatchObject({ status: 0 });
  });

  it('keeps working when its handle is dropped and collected', async () => {
    const code = `
      const fd = native.eventfd(0);
      native.watchStart(fd, () => { say('readable'); process.exit(0); });
      setTimeout(() => { gc(); gc(); native.eventfdSignal(fd, 1); }, 20);`;
    expect(await runChild(code, { flags: ['--expose-gc'] })).toMatchObject({
      status: 0,
      output: 'readable\n',
    });
  });
});
