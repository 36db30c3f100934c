import { mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { FileNamespace } from '../../../../src/cli/serve/backends/file-namespace.ts';
import { loadNative } from '../../../../src/native/index.ts';
import { openFds } from '../../../helpers/open-fds.ts';

const SIZE = 4 * 1024 * 1024;

describe('a namespace in a file', () => {
  let folder: string;
  let path: string;
  let descriptors: readonly string[];
  const made: FileNamespace[] = [];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'ferry-disk-'));
    path = join(folder, 'disk.img');
    writeFileSync(path, new Uint8Array(SIZE).fill(0xaa));
    descriptors = openFds();
  });
  afterEach(async () => {
    for (const one of made.splice(0)) await one.quiesce();
    expect(openFds()).toEqual(descriptors);
    rmSync(folder, { recursive: true });
  });

  function make(options: ConstructorParameters<typeof FileNamespace>[1] = {}): FileNamespace {
    const namespace = new FileNamespace(path, options);
    made.push(namespace);
    return namespace;
  }

  it('has as many blocks as the file', () => {
    expect([make().blocks, make({ blockSize: 4096 }).blocks]).toEqual([8192, 1024]);
  });

  it('has a serial number that belongs to its path', () => {
    expect(make().serial).toMatch(/^FILE[0-9A-F]{16}$/);
    expect(make().serial).toBe(make({ blockSize: 4096 }).serial);
    const other = join(folder, 'other.img');
    writeFileSync(other, new Uint8Array(512));
    expect(new FileNamespace(other).serial).not.toBe(make().serial);
  });

  it('stores and gives back', async () => {
    const namespace = make();
    await namespace.resume();
    const data = Uint8Array.from({ length: 100_000 * 8 }, (_, i) => i * 7);
    await namespace.write(1536, data.subarray(0, 786_432));
    const found = new Uint8Array(786_432);
    await namespace.read(1536, found);
    expect(Buffer.compare(found, data.subarray(0, 786_432))).toBe(0);
    await namespace.flush();
    expect(Buffer.compare(readFileSync(path).subarray(1536, 1536 + 786_432), found)).toBe(0);
  });

  it('passes on to another one with its lock, and lets nobody else in meanwhile', async () => {
    const before = make();
    await before.resume();
    await before.write(0, new Uint8Array(512).fill(1));
    const native = loadNative();
    const after = make();
    after.takeOver(before.handOver().map((fd) => native.dup(fd)));
    await expect(make().resume()).rejects.toMatchObject({ code: 'ERR_STORAGE_BUSY' });
    await before.quiesce();
    await expect(make().resume(), 'the lock is still there').rejects.toMatchObject({
      code: 'ERR_STORAGE_BUSY',
    });
    const found = new Uint8Array(512);
    await after.read(0, found);
    expect(found[511]).toBe(1);
    await after.quiesce();
    await make().resume();
  });

  it('clears more than it writes at a time, and no more than it was told', async () => {
    const namespace = make();
    await namespace.resume();
    await namespace.zero(512, 2 * 1024 * 1024 + 512);
    const bytes = readFileSync(path);
    expect(bytes.indexOf(0)).toBe(512);
    expect(bytes.indexOf(0xaa, 512)).toBe(512 + 2 * 1024 * 1024 + 512);
  });

  it('belongs to one server at a time', async () => {
    const first = make();
    const second = make();
    await first.resume();
    await first.resume();
    await expect(second.resume()).rejects.toThrow(expect.objectContaining({ code: 'ERR_STORAGE_BUSY' }));
    await first.quiesce();
    await first.quiesce();
    await Promise.all([second.resume(), second.resume()]);
    await expect(first.resume()).rejects.toThrow(expect.objectContaining({ errno: 16 }));
  });

  it('is given up when what is in progress has ended', async () => {
    const namespace = make();
    await namespace.resume();
    const data = new Uint8Array(SIZE).fill(0x33);
    const ended: string[] = [];
    const note = (what: string) => () => ended.push(what);
    const operations = [
      namespace.write(0, data).then(note('write')),
      namespace.read(0, new Uint8Array(SIZE)).then(note('read')),
      namespace.flush().then(note('flush')),
    ];
    await namespace.quiesce().then(note('quiesce'));
    await Promise.all(operations);
    expect(ended).toHaveLength(4);
    expect(ended.at(-1)).toBe('quiesce');
    expect(readFileSync(path).every((byte) => byte === 0x33)).toBe(true);
  });

  it('is not touched without being had', async () => {
    const namespace = make();
    expect(() => namespace.read(0, new Uint8Array(512))).toThrow(
      expect.objectContaining({ code: 'ERR_STORAGE_RELEASED' }),
    );
    await namespace.resume();
    await namespace.quiesce();
    expect(() => namespace.write(0, new Uint8Array(512))).toThrow(
      expect.objectContaining({ code: 'ERR_STORAGE_RELEASED' }),
    );
  });

  it('fails to read what is no longer there', async () => {
    const namespace = make();
    await namespace.resume();
    truncateSync(path, 1024);
    await expect(namespace.read(512, new Uint8Array(1024))).rejects.toThrow(
      expect.objectContaining({ code: 'ERR_STORAGE_IO' }),
    );
  });

  it('refuses a file that has another size than before', async () => {
    const namespace = make();
    truncateSync(path, SIZE / 2);
    await expect(namespace.resume()).rejects.toThrow(expect.objectContaining({ code: 'ERR_STORAGE_FILE' }));
  });

  it.each<[string, () => void]>([
    ['is not there', () => rmSync(path)],
    ['is empty', () => truncateSync(path, 0)],
    ['has a part of a block', () => truncateSync(path, 1000)],
    [
      'is a folder',
      () => {
        rmSync(path);
        mkdirSync(path);
      },
    ],
  ])('refuses what %s', (_, spoil) => {
    spoil();
    expect(() => new FileNamespace(path)).toThrow(expect.objectContaining({ code: 'ERR_STORAGE_FILE' }));
  });
});
