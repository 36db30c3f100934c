import { PassThrough } from 'node:stream';
import { beforeEach, describe, expect, it } from 'vitest';
import { StreamBackend } from '../../../../src/cli/serve/backends/stream-backend.ts';

/** What a FIFO of the guest takes. */
const FIFO = 16;

let backend: StreamBackend;
let ready: number;
beforeEach(() => {
  backend = new StreamBackend();
  ready = 0;
  backend.onReady(() => {
    ready += 1;
  });
});

function read(): string {
  const target = new Uint8Array(FIFO);
  return Buffer.from(target.subarray(0, backend.read(target))).toString();
}

describe('StreamBackend', () => {
  it('loses what is sent while nobody is there, and has nothing to give', () => {
    expect(backend.write(new Uint8Array(5))).toBe(5);
    expect(read()).toBe('');
    expect(backend.attached).toBe(false);
  });

  it('gives as much as is asked for, in order', () => {
    const input = new PassThrough();
    backend.attach(input, new PassThrough());
    input.write('0123456789abcdef the rest');
    expect([read(), read(), read()]).toEqual(['0123456789abcdef', ' the rest', '']);
  });

  it('says when there is something after there was nothing', async () => {
    const input = new PassThrough();
    backend.attach(input, new PassThrough());
    expect(read()).toBe('');
    const before = ready;
    input.write('x');
    await new Promise((resolve) => setImmediate(resolve));
    expect(ready).toBeGreaterThan(before);
    expect(read()).toBe('x');
  });

  it('takes nothing while the other end does not read, and says when it does', async () => {
    const output = new PassThrough({ highWaterMark: 8 });
    backend.attach(new PassThrough(), output);
    expect(backend.write(Buffer.from('12345678'))).toBe(8);
    expect(backend.write(Buffer.from('9'))).toBe(0);
    const before = ready;
    expect(String(output.read())).toBe('12345678');
    await new Promise((resolve) => setImmediate(resolve));
    expect(ready).toBeGreaterThan(before);
    expect(backend.write(Buffer.from('9'))).toBe(1);
  });

  it('sees that an input has ended also while the guest takes nothing', async () => {
    const input = new PassThrough();
    const ended = new Promise<void>((resolve) => {
      input.once('end', resolve);
    });
    backend.attach(input, new PassThrough());
    input.end();
    await ended;
  });

  it('makes nobody wait for who has gone', () => {
    const output = new PassThrough({ highWaterMark: 1 });
    backend.attach(new PassThrough(), output);
    backend.write(Buffer.from('12'));
    expect(backend.write(Buffer.from('3'))).toBe(0);
    const before = ready;
    backend.detach();
    expect(ready).toBe(before + 1);
    expect(backend.write(Buffer.from('3'))).toBe(1);
  });
});
