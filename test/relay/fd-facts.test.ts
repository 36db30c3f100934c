import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { fdFactsOf } from '../../src/relay/index.ts';
import { folder, native, pair } from './support.ts';

const open: number[] = [];
afterEach(() => {
  for (const fd of open.splice(0)) native.close(fd);
});

const kept = (fd: number): number => {
  open.push(fd);
  return fd;
};

describe('what a descriptor is', () => {
  it('memory, with its size, and which of two it is', () => {
    const memory = kept(native.memfd('some', 65536, false));
    const other = kept(native.memfd('some', 65536, false));
    expect(fdFactsOf(memory)).toMatchObject({ kind: 'memfd', size: 65536n });
    expect(fdFactsOf(kept(native.dup(memory)))).toEqual(fdFactsOf(memory));
    expect(fdFactsOf(other).identity).not.toBe(fdFactsOf(memory).identity);
  });

  it('an eventfd, and which of two it is', () => {
    const one = kept(native.eventfd(0));
    expect(fdFactsOf(one)).toMatchObject({ kind: 'eventfd', size: 0n });
    expect(fdFactsOf(kept(native.dup(one)))).toEqual(fdFactsOf(one));
    expect(fdFactsOf(kept(native.eventfd(0))).identity).not.toBe(fdFactsOf(one).identity);
  });

  it('a socket, a file, a device, a folder, or nothing any more', () => {
    const place = folder();
    const path = join(place.path, 'file');
    writeFileSync(path, 'abc');
    for (const fd of pair()) expect(fdFactsOf(kept(fd)).kind).toBe('socket');
    expect(fdFactsOf(kept(openSync(path, 'r')))).toMatchObject({ kind: 'file', size: 3n });
    expect(fdFactsOf(kept(openSync('/dev/null', 'r'))).kind).toBe('device');
    expect(fdFactsOf(kept(openSync(place.path, 'r'))).kind).toBe('folder');
    const gone = openSync(path, 'r');
    closeSync(gone);
    expect(fdFactsOf(gone)).toEqual({ kind: 'unknown', size: 0n, identity: 0n });
    place.remove();
  });
});
