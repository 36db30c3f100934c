import { describe, expect, it } from 'vitest';
import { Errno, FerryError } from '../../src/errors/index.ts';
import { check, NativeError } from '../../src/native/index.ts';

describe('check', () => {
  it('passes on counts, fds and handles', () => {
    const handle = new ArrayBuffer(1);
    expect(check(0, 'send')).toBe(0);
    expect(check(7, 'listen')).toBe(7);
    expect(check(handle, 'map')).toBe(handle);
  });

  it('turns a negated errno into an error that names the operation, the errno and what it was about', () => {
    const act = () => check(-Errno.EADDRINUSE, 'listen', { path: '/run/ferry.sock' });
    expect(act).toThrow(NativeError);
    expect(act).toThrow(FerryError);
    expect(act).toThrow(
      expect.objectContaining({
        message: 'listen: EADDRINUSE (path /run/ferry.sock)',
        code: 'ERR_NATIVE',
        errno: Errno.EADDRINUSE,
        operation: 'listen',
        context: { path: '/run/ferry.sock' },
      }),
    );
  });
});
