import { describe, expect, it } from 'vitest';
import { closeAll, expectNoFdLeak, native, pair, pump, runChild, sendText, turns, until } from './support.ts';

expectNoFdLeak();

describe('closing', () => {
  it('is final inside the receive callback, although more data waits', async () => {
    const ends = pair();
    const { handle, texts } = pump(ends[1], { length: 1, onReceive: () => native.pumpClose(handle) });
    sendText(ends[0], 'abc');
    await turns();
    expect(texts).toEqual(['a']);
    closeAll(ends);
  });

  it('is final inside the writable callback, although data waits', async () => {
    const ends = pair();
    const { handle, texts } = pump(ends[1], { onWritable: () => native.pumpClose(handle) });
    sendText(ends[0], 'abc');
    native.pumpArm(handle, true, true);
    await turns();
    expect(texts).toEqual([]);
    closeAll(ends);
  });

  it('may come with the fd closed in the same callback, and the number used anew', async () => {
    const ends = pair();
    let reused = -1;
    const { handle, texts } = pump(ends[1], {
      length: 1,
      onReceive: () => {
        native.pumpClose(handle);
        closeAll([ends[1]]);
        reused = native.eventfd(1);
      },
    });
    sendText(ends[0], 'abc');
    await turns();
    expect(reused).toBe(ends[1]);
    expect(texts).toEqual(['a']);
    expect(native.eventfdRead(reused)).toBe(1);
    closeAll([ends[0], reused]);
  });

  it('may be repeated, and leaves arming without effect', async () => {
    const ends = pair();
    const { handle, texts } = pump(ends[1]);
    native.pumpClose(handle);
    native.pumpClose(handle);
    expect(native.pumpArm(handle, true, true)).toBe(0);
    sendText(ends[0], 'abc');
    await turns();
    native.pumpClose(handle);
    native.setReferenced(handle, false);
    expect(texts).toEqual([]);
    closeAll(ends);
  });

  it('inside a callback lets go of the callbacks', async () => {
    const code = `
      let collected = 0;
      const registry = new FinalizationRegistry(() => collected++);
      const once = () => {
        const ends = pair();
        const onReceive = () => { native.pumpClose(handle); ends.forEach((fd) => native.close(fd)); };
        registry.register(onReceive);
        const handle = native.pumpStart(ends[1], new Uint8Array(8), new Uint8Array(8), new Int32Array(1),
          Int32Array.of(0, 8, 0, 500, 0, 0, 0, 0, 0, 0), onReceive, () => {});
        sendText(ends[0], 'x');
      };
      for (let i = 0; i < 10; i++) once();
      (async () => {
        for (let i = 0; collected < 9 && i < 500; i++) { await new Promise((done) => setTimeout(done, 1)); gc(); }
        say(String(collected >= 9));
      })();`;
    expect(await runChild(code, { flags: ['--expose-gc'] })).toMatchObject({ status: 0, output: 'true\n' });
  });

  it('lets another pump take over the socket at once', async () => {
    const ends = pair();
    const first = pump(ends[1]);
    native.pumpClose(first.handle);
    const second = pump(ends[1]);
    sendText(ends[0], 'abc');
    await until(() => second.texts.length === 1);
    expect(first.texts).toEqual([]);
    native.pumpClose(second.handle);
    closeAll(ends);
  });

  it('of one pump inside the callback of another is safe', async () => {
    const [a, b] = [pair(), pair()];
    const other = pump(a[1]);
    const { handle } = pump(b[1], { onReceive: () => native.pumpClose(other.handle) });
    sendText(b[0], 'x');
    sendText(a[0], 'x');
    await turns();
    native.pumpClose(handle);
    closeAll([...a, ...b]);
  });
});
