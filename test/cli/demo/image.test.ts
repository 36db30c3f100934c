import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { differences, Image, makeFile } from '../../../src/cli/demo/image.ts';

const folder = mkdtempSync(join(tmpdir(), 'ferry-image-'));
const file = join(folder, 'file');
const SIZE = 64 * 1024;
const STRIPE = SIZE / 16;
writeFileSync(file, Buffer.alloc(50_000, 'ferry'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("the guest's idea of the device's memory", () => {
  it('is the file at first, then zeros', () => {
    const { model, fileSize } = new Image(file, SIZE);
    expect(fileSize).toBe(50_000);
    expect(differences(model.subarray(0, 50_000), readFileSync(file))).toBe(0);
    expect(model.subarray(50_000).every((byte) => byte === 0)).toBe(true);
  });

  it('knows every write, and keeps the users apart', () => {
    const image = new Image(file, SIZE);
    const memory = image.model.slice();
    const users = { mapping: new Set<number>(), messages: new Set<number>() };
    for (let i = 0; i < 2000; i += 1) {
      const user = i % 2 === 0 ? 'mapping' : 'messages';
      const { offset, data } = image.write(user, 1 + (i % 5000));
      expect(Math.floor(offset / STRIPE)).toBe(Math.floor((offset + data.length - 1) / STRIPE));
      users[user].add(Math.floor(offset / STRIPE) % 4);
      memory.set(data, offset);
    }
    expect(differences(image.model, memory)).toBe(0);
    expect([...users.mapping].sort()).toEqual([0, 2]);
    expect([...users.messages]).toEqual([1]);
  });

  it('compares what nobody has written with the file itself', () => {
    const image = new Image(file, SIZE);
    for (let i = 0; i < 1000; i += 1) image.write('mapping', 4096);
    const actual = image.model.slice();
    expect(image.compareWithFile(actual)).toEqual({
      bytes: 3 * STRIPE,
      different: 0,
    });
    const at = 3 * STRIPE + 5;
    actual[at] = (actual[at] ?? 0) ^ 1;
    expect(image.compareWithFile(actual).different).toBe(1);
  });

  it('refuses a file that does not fit, or is not there', () => {
    expect(() => new Image(file, 4096)).toThrow(/does not fit into 4096/);
    expect(() => new Image(join(folder, 'nothing'), SIZE)).toThrow(/can't be read/);
  });

  it('is made of random bytes where there is no file, in any size', () => {
    for (const size of [4096, 20 * 1024 * 1024]) {
      const path = join(folder, `made-${size}`);
      makeFile(path, size);
      expect(readFileSync(path).length).toBe(size);
    }
  });
});

describe('counting differences', () => {
  it('counts each byte, and bytes that are missing', () => {
    const a = Uint8Array.of(1, 2, 3, 4);
    expect(differences(a, a.slice())).toBe(0);
    expect(differences(a, Uint8Array.of(1, 0, 3, 0))).toBe(2);
    expect(differences(a, Uint8Array.of(1, 2, 0))).toBe(2);
  });
});
