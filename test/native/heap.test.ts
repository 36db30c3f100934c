import { describe, expect, it } from 'vitest';
import { binary, runChild } from './support.ts';

/** Says how many MiB the C library's heap has grown by: with a large buffer, with buffers of 3 MiB, and after these. */
const watchHeap = `
  const MiB = 2 ** 20;
  const heap = () => {
    const parts = fs.readFileSync('/proc/self/maps', 'utf8').matchAll(/^([0-9a-f]+)-([0-9a-f]+) .*\\[heap\\]$/gm);
    return [...parts].reduce((sum, [, from, to]) => sum + Number(BigInt('0x' + to) - BigInt('0x' + from)), 0);
  };
  // Memory is freed on another thread, for which the next collection waits.
  const collect = async () => {
    for (let rounds = 0; rounds < 4; rounds++) {
      gc();
      await new Promise(setImmediate);
    }
  };
  const take = (count, size) => Array.from({ length: count }, () => Buffer.allocUnsafeSlow(size));
  const main = async () => {
    // What describes a buffer finds room where that of these was, and so does not hold the end of the heap.
    take(1000, 64);
    await collect();
    const before = heap();
    const grown = () => Math.round((heap() - before) / MiB);
    let buffers = take(1, 32 * MiB);
    const told = [grown()];
    buffers = take(12, 3 * MiB);
    told.push(grown());
    buffers = null;
    await collect();
    told.push(grown());
    say(told.join(' '));
  };
  main();
`;

/** Between nothing and the 36 MiB of all the buffers: the program itself takes and frees some MiB meanwhile. */
const HALF = 18;

describe.skipIf(binary.includes('-musl'))('keepHeap', () => {
  it('keeps large buffers out of the heap, and in it what was freed there', async () => {
    const { status, output } = await runChild(`native.keepHeap(); ${watchHeap}`, { flags: ['--expose-gc'] });
    expect(status, output).toBe(0);
    const [large, held, kept] = output.trim().split(' ').map(Number);
    expect(large).toBeLessThan(HALF);
    expect(held).toBeGreaterThan(HALF);
    expect(kept).toBeGreaterThan(HALF);
  });
});
