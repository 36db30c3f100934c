import { describe, expect, it } from 'vitest';
import { MemoryBlock, memory } from '../../../src/device/state/index.ts';
import { Errno } from '../../../src/errors/index.ts';
import { loadNative } from '../../../src/native/index.ts';
import { FakeMemory } from './fake-native.ts';

const PAGE = 4096;

function blockOf(pages: number, options: Parameters<typeof memory>[1] = {}): MemoryBlock {
  return new MemoryBlock('ram', memory(pages * PAGE, options), 'part');
}

function sharedBlock(fake = new FakeMemory()): MemoryBlock {
  const block = blockOf(2);
  block.share();
  block.materialize(fake.native);
  return block;
}

/** Takes everything that is dirty; the offsets of the runs. */
function takeAll(block: MemoryBlock): readonly number[] {
  const offsets: number[] = [];
  for (let run = block.takeDirty(PAGE); run !== null; run = block.takeDirty(PAGE)) offsets.push(run.offset);
  return offsets;
}

describe('access', () => {
  it.each([1, 4, 32, 33, 5000])('reads what was written, %d bytes at a time', (length) => {
    const block = blockOf(3);
    const source = Uint8Array.from({ length: length + 2 }, (_, i) => i + 1);
    block.write(1000, source, 1, length);
    const target = new Uint8Array(length + 3);
    block.read(1000, target, 2, length);
    expect(target.subarray(2, length + 2)).toEqual(source.subarray(1, length + 1));
    expect([target[0], target[1], target.at(-1), block.bytes[999], block.bytes[1000 + length]]).toEqual([
      0, 0, 0, 0, 0,
    ]);
  });

  it('takes the whole array when no length is given', () => {
    const block = blockOf(1);
    block.write(4000, new Uint8Array(96).fill(7));
    const target = new Uint8Array(97);
    block.read(3999, target);
    expect([target[0], target[1], target[96]]).toEqual([0, 7, 7]);
  });

  it('fills a range, or everything to the end', () => {
    const block = blockOf(1);
    block.fill(3, 4090);
    block.fill(4, 10, 5);
    expect([block.bytes[4089], block.bytes[4090], block.bytes[4095]]).toEqual([0, 3, 3]);
    expect([...block.bytes.subarray(9, 16)]).toEqual([0, 4, 4, 4, 4, 4, 0]);
  });

  const outside: readonly (readonly [what: string, access: (block: MemoryBlock) => void])[] = [
    ['a read over the end', (block) => block.read(8190, new Uint8Array(3))],
    ['a write over the end', (block) => block.write(8192, new Uint8Array(1))],
    ['a negative offset', (block) => block.write(-1, new Uint8Array(1))],
    ['a fill over the end', (block) => block.fill(0, 1, 8192)],
    ['a mark over the end', (block) => block.markDirty(0, 8193)],
    ['an offset that is no number', (block) => block.read(Number.NaN, new Uint8Array(1))],
    ['half a byte', (block) => block.fill(0, 0.5, 1)],
    ['a negative length', (block) => block.markDirty(1, -1)],
  ];
  it.each(outside)('refuses %s', (_, access) => {
    expect(() => access(blockOf(2))).toThrow(
      expect.objectContaining({ code: 'ERR_STATE_RANGE', errno: Errno.EINVAL }),
    );
  });

  it('is cleared by a reset unless it is to be kept', () => {
    const [cleared, kept] = [blockOf(1), blockOf(1, { onReset: 'keep' })];
    for (const block of [cleared, kept]) {
      block.fill(9);
      block.reset();
    }
    expect([cleared.bytes[0], kept.bytes[0]]).toEqual([0, 9]);
  });
});

describe('shared memory', () => {
  it('is a memfd of the size, sealed against shrinking', () => {
    const fake = new FakeMemory();
    const block = sharedBlock(fake);
    expect(fake.created).toEqual([['ferry-part.ram', 2 * PAGE, true]]);
    expect([block.fd, block.exposed]).toEqual([101, false]);
    expect([...fake.mapped][0]).toBe(block.bytes.buffer);
  });

  it('keeps what was written before it was there', () => {
    const block = blockOf(1);
    block.share();
    block.write(5, Uint8Array.of(42));
    block.materialize(new FakeMemory().native);
    expect(block.bytes[5]).toBe(42);
  });

  it('is private when nobody asked for sharing, or nothing can share', () => {
    const fake = new FakeMemory();
    const [unshared, alone] = [blockOf(1), blockOf(1)];
    alone.share();
    unshared.materialize(fake.native);
    alone.materialize(null);
    expect([unshared.fd, alone.fd, alone.expose(), alone.exposed, fake.created]).toEqual([
      null,
      null,
      null,
      false,
      [],
    ]);
    expect(alone.bytes.length).toBe(PAGE);
  });

  it('is decided once', () => {
    const fake = new FakeMemory();
    const block = sharedBlock(fake);
    block.materialize(fake.native);
    expect(fake.created).toHaveLength(1);
    expect(() => block.share()).toThrow(expect.objectContaining({ code: 'ERR_STATE_DECLARATION' }));
  });

  it('is given back with its fd, once', () => {
    const fake = new FakeMemory();
    const block = sharedBlock(fake);
    block.close();
    block.close();
    expect([fake.open.size, fake.mapped.size, block.fd]).toEqual([0, 0, null]);
  });

  it.each([
    ['memfd_create', { failMemfd: -Errno.EMFILE }, Errno.EMFILE],
    ['mmap', { failMap: -Errno.ENOMEM }, Errno.ENOMEM],
  ])('reports that %s failed, and leaves no fd behind', (what, failure, errno) => {
    const fake = Object.assign(new FakeMemory(), failure);
    expect(() => sharedBlock(fake)).toThrow(
      expect.objectContaining({ code: 'ERR_STATE_MEMORY', errno, message: expect.stringContaining(what) }),
    );
    expect(fake.open.size).toBe(0);
  });

  it('reports memory that cannot be had', () => {
    expect(() => blockOf(2 ** 40).bytes).toThrow(
      expect.objectContaining({ code: 'ERR_STATE_MEMORY', errno: Errno.ENOMEM }),
    );
  });
});

describe('tracking', () => {
  it('knows every change that the block makes itself', () => {
    const block = blockOf(8);
    block.track();
    expect(block.dirtyBytes).toBe(8 * PAGE);
    takeAll(block);
    block.write(PAGE - 1, Uint8Array.of(1, 1));
    block.fill(1, 3 * PAGE, 1);
    block.bytes[5 * PAGE] = 1;
    block.markDirty(5 * PAGE, 1);
    block.loaded(7 * PAGE, 10);
    expect(takeAll(block)).toEqual([0, PAGE, 3 * PAGE, 5 * PAGE, 7 * PAGE]);
    block.reset();
    expect(block.dirtyBytes).toBe(8 * PAGE);
  });

  it('costs nothing and knows nothing while nobody asks', () => {
    const block = blockOf(2);
    block.write(0, Uint8Array.of(1));
    block.refresh();
    expect([block.dirtyBytes, block.takeDirty(PAGE)]).toEqual([0, null]);
    block.track();
    block.untrack();
    expect([block.dirtyBytes, block.takeDirty(PAGE)]).toEqual([0, null]);
  });

  it('compares from the moment the fd is given away', () => {
    const block = sharedBlock();
    block.track();
    takeAll(block);
    block.bytes[0] = 1;
    block.refresh();
    expect(block.dirtyBytes).toBe(0);
    expect(block.expose()).toBe(101);
    takeAll(block);
    block.bytes[1] = 1;
    block.refresh();
    expect(takeAll(block)).toEqual([0]);
  });

  it('goes on comparing in later sessions, since the client may keep its mapping', () => {
    const block = sharedBlock();
    block.expose();
    block.track();
    takeAll(block);
    block.bytes[PAGE] = 1;
    block.refresh();
    expect([block.exposed, takeAll(block)]).toEqual([true, [PAGE]]);
  });
});

describe('with the real system', () => {
  it('a block is the memory that a client maps through its fd', () => {
    const native = loadNative();
    const block = blockOf(4);
    block.share();
    block.write(0, Uint8Array.of(1));
    block.materialize(native);
    const client = native.map(block.expose() ?? -1, 0, block.size, 3);
    if (typeof client === 'number') throw new Error(`mmap: ${client}`);
    const theirs = new Uint8Array(client);
    expect(theirs[0]).toBe(1);
    block.track();
    takeAll(block);
    theirs[2 * PAGE + 7] = 9;
    block.refresh();
    expect([takeAll(block), block.bytes[2 * PAGE + 7]]).toEqual([[2 * PAGE], 9]);
    native.unmap(client);
    block.close();
  });
});
