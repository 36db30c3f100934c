import { describe, expect, it } from 'vitest';
import { BlockSweep } from '../../src/stream/block-sweep.ts';
import { PAGE_SIZE } from '../../src/stream/index.ts';
import { ModelBlock } from './model-image.ts';

function blocks(...pages: readonly number[]): readonly ModelBlock[] {
  return pages.map((count, i) => {
    const block = new ModelBlock(`b${i}`, count * PAGE_SIZE);
    block.bytes.fill(1);
    block.track();
    return block;
  });
}

/** Block, first page, pages and whether it is of the first pass, of the next runs of two pages. */
function take(sweep: BlockSweep, count: number) {
  return Array.from({ length: count }, () => {
    const run = sweep.take(2 * PAGE_SIZE);
    return run === null ? null : [run.block, run.offset / PAGE_SIZE, run.length / PAGE_SIZE, run.initial];
  });
}

describe('BlockSweep', () => {
  it('goes through one block after the other', () => {
    const sweep = new BlockSweep(blocks(3, 1));
    expect(take(sweep, 4)).toEqual([[0, 0, 2, true], [0, 2, 1, true], [1, 0, 1, true], null]);
  });

  it('leaves what is dirty again behind the sweep for the next turn', () => {
    const all = blocks(4, 1);
    const sweep = new BlockSweep(all);
    take(sweep, 1);
    all[0]?.write(0, Uint8Array.of(2));
    expect(take(sweep, 4)).toEqual([[0, 2, 2, true], [1, 0, 1, true], [0, 0, 1, false], null]);
  });

  it('gives the next block a turn when a block starts over before its end', () => {
    const all = blocks(5, 1);
    const sweep = new BlockSweep(all);
    const touch = (block: number, page: number) => all[block]?.write(page * PAGE_SIZE, Uint8Array.of(2));
    take(sweep, 4);
    touch(0, 3);
    expect(take(sweep, 1)).toEqual([[0, 3, 1, false]]);
    touch(0, 0);
    touch(0, 2);
    touch(1, 0);
    expect(take(sweep, 4)).toEqual([[0, 0, 1, false], [1, 0, 1, false], [0, 2, 1, false], null]);
  });

  it('counts what is left of the first pass, and all that is dirty', () => {
    const all = blocks(4, 2);
    const sweep = new BlockSweep(all);
    const counts = () => [sweep.firstPass / PAGE_SIZE, sweep.dirtyBytes / PAGE_SIZE];
    expect(counts()).toEqual([6, 6]);
    take(sweep, 1);
    all[0]?.write(0, Uint8Array.of(2));
    expect(counts()).toEqual([4, 5]);
    take(sweep, 2);
    expect(counts()).toEqual([0, 1]);
  });

  it('has nothing when there are no blocks, or none is dirty', () => {
    expect(take(new BlockSweep([]), 1)).toEqual([null]);
    const [idle] = blocks(1);
    idle?.untrack();
    const sweep = new BlockSweep(idle === undefined ? [] : [idle]);
    expect(take(sweep, 2)).toEqual([null, null]);
    expect(sweep.firstPass).toBe(0);
  });
});
