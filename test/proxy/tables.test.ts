import { afterEach, describe, expect, it } from 'vitest';
import { loadNative } from '../../src/native/index.ts';
import { ConfigShadow } from '../../src/proxy/config-shadow.ts';
import { DmaTable } from '../../src/proxy/dma-table.ts';
import { IrqTable } from '../../src/proxy/irq-table.ts';
import { Unanswered } from '../../src/proxy/unanswered.ts';
import { openFds } from '../helpers/open-fds.ts';
import { fields } from '../helpers/raw-client.ts';

const native = loadNative();
const before = openFds();
afterEach(() => expect(openFds(), 'fds are given back').toEqual(before));

const map = (address: bigint, size: bigint): Buffer => fields(32, 3, 0n, address, size);
const unmap = (flags: number, address: bigint, size: bigint): Buffer => fields(24, flags, address, size);

describe('what is mapped for DMA', () => {
  it('is kept in order, with its memory', () => {
    const table = new DmaTable(native);
    const fd = native.memfd('guest', 4096, false);
    table.map(map(0n, 0x1000n), [fd]);
    table.map(map(0x8000n, 0x1000n), []);
    expect(table.entries).toMatchObject([
      { address: 0n, fd },
      { address: 0x8000n, fd: null },
    ]);
    expect(Buffer.from(table.entries[1]?.payload ?? [])).toEqual(map(0x8000n, 0x1000n));
    table.clear();
  });

  it.each([
    ['one', unmap(0, 0x1000n, 0x1000n), [0n, 0x2000n]],
    ['what lies inside', unmap(0, 0x1000n, 0x2000n), [0n]],
    ['nothing that reaches out of it', unmap(0, 0x1000n, 0x800n), [0n, 0x1000n, 0x2000n]],
    ['everything', unmap(2, 0n, 0n), []],
  ])('is forgotten when it is unmapped: %s', (_, payload, left) => {
    const table = new DmaTable(native);
    for (const at of [0n, 0x1000n, 0x2000n])
      table.map(map(at, 0x1000n), [native.memfd('guest', 4096, false)]);
    table.unmap(payload);
    expect(table.entries.map(({ address }) => address)).toEqual(left);
    table.clear();
  });
});

describe('what is set up of interrupts', () => {
  const set = (flags: number, index: number, start: number, count: number, data = Buffer.alloc(0)): Buffer =>
    fields(20, flags, index, start, count, data);
  const eventfds = (count: number): number[] => Array.from({ length: count }, () => native.eventfd(0));

  it('is set up again: by runs of vectors that fit into a message, then what is masked', () => {
    const table = new IrqTable(native);
    const fds = eventfds(5);
    const [a = -1, b = -1, c = -1, d = -1, e = -1] = fds;
    table.set(set(0x24, 2, 0, 1), []);
    table.set(set(0x24, 2, 0, 3), [a, b, c]);
    table.set(set(0x24, 2, 5, 1), [d]);
    table.set(set(0x24, 0, 0, 1), [e]);
    table.set(set(0x09, 0, 0, 1), []);
    const replays = table.replays(2).map(({ payload, fds: given }) => [Buffer.from(payload), [...given]]);
    expect(replays).toEqual([
      [set(0x24, 2, 0, 2), [a, b]],
      [set(0x24, 2, 2, 1), [c]],
      [set(0x24, 2, 5, 1), [d]],
      [set(0x24, 0, 0, 1), [e]],
      [set(0x09, 0, 0, 1), []],
    ]);
    expect(table.vectors).toBe(5);
    table.clear();
  });

  it('has a vector that was set up without an eventfd, as QEMU enables MSI-X', () => {
    const table = new IrqTable(native);
    table.set(set(0x24, 2, 0, 1), []);
    expect(table.replays(8).map(({ payload }) => Buffer.from(payload))).toEqual([set(0x24, 2, 0, 1)]);
  });

  it('takes back masks, those of a DATA_BOOL by its bytes, and everything when the index is disabled', () => {
    const table = new IrqTable(native);
    table.set(set(0x24, 2, 0, 2), eventfds(2));
    table.set(set(0x09, 2, 0, 2), []);
    table.set(set(0x12, 2, 0, 2, Buffer.from([0, 1])), []);
    expect(
      table
        .replays(8)
        .slice(1)
        .map(({ payload }) => Buffer.from(payload)),
    ).toEqual([set(0x09, 2, 0, 1)]);
    table.set(set(0x21, 2, 0, 0), []);
    expect(table.replays(8)).toEqual([]);
  });

  it('gives the eventfd of UNMASK again, and does not repeat what was only triggered', () => {
    const table = new IrqTable(native);
    table.set(set(0x14, 0, 0, 1), eventfds(1));
    table.set(set(0x21, 0, 0, 1), []);
    table.set(set(0x22, 0, 0, 1, Buffer.from([1])), []);
    expect(table.replays(8).map(({ payload }) => Buffer.from(payload))).toEqual([set(0x14, 0, 0, 1)]);
    table.clear();
  });
});

describe('requests without an answer', () => {
  const bytes = Uint8Array.from({ length: 200 }, (_, i) => i);

  it('come out in the order in which they were asked, short ones with their bytes', () => {
    const table = new Unanswered();
    table.add(9, 10, bytes, 0, 36);
    table.add(3, 9, bytes, 36, 68);
    table.add(7, 10, bytes, 0, 65);
    expect(table.answered(3)).toBe(true);
    expect(table.answered(3)).toBe(false);
    table.add(2, 9, bytes, 68, 100);
    expect(table.count).toBe(3);
    expect(table.takeAll()).toEqual([
      { id: 9, command: 10, bytes: bytes.slice(0, 36) },
      { id: 7, command: 10, bytes: null },
      { id: 2, command: 9, bytes: bytes.slice(68, 100) },
    ]);
    expect(table.count).toBe(0);
  });

  it('leave ids for others, far from the next ones of who counts up', () => {
    const table = new Unanswered();
    table.add(0xfff0, 9, bytes, 0, 32);
    expect(table.freeId(() => false)).toBe(0x7ff0);
    table.add(0x7ff1, 9, bytes, 0, 32);
    table.add(0xfff0, 9, bytes, 0, 32);
    expect(table.freeId((id) => id === 0x7ff0)).toBe(0x7ff2);
    expect(
      table.freeId(() => true),
      'ends when all are taken',
    ).toBe(0x7ff0);
  });

  it('are remembered whole only as long as their place is not needed', () => {
    const table = new Unanswered();
    table.add(0, 9, bytes, 0, 32);
    for (let i = 0; i < 1024; i++) {
      table.add(1, 9, bytes, 32, 64);
      table.answered(1);
    }
    table.add(2, 9, bytes, 32, 64);
    expect(table.takeAll()).toMatchObject([
      { id: 0, bytes: null },
      { id: 2, bytes: bytes.slice(32, 64) },
    ]);
  });
});

it('knows of configuration space what was read and written, and nothing else', () => {
  const shadow = new ConfigShadow();
  shadow.note(4, Uint8Array.of(9, 7, 0), 1, 3);
  shadow.note(4094, Uint8Array.of(1, 1, 1), 0, 3);
  shadow.note(-1, Uint8Array.of(1), 0, 1);
  expect([...shadow.over(new Uint8Array(8).fill(0xee))]).toEqual([0xee, 0xee, 0xee, 0xee, 7, 0, 0xee, 0xee]);
});
