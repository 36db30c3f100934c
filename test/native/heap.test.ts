import { describe, expect, it } from 'vitest';
import { binary, runChild } from './support.ts';

/** Says how many MiB the C library's heap has grown by: with a large buffer, with buffers of 3 MiB, and after these. */
const watchHeap = `
  const MiB = 2 ** 20;
  const heap = () => {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) .*\\[heap\\]$/m.exec(fs.readFileSync('/proc/self/maps', 'utf8'));
    return Number(BigInt('0x' + to) - BigInt('0x' + from));
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
    buffers = take(8, 3 * MiB);
    told.push(grown());
    buffers = null;
    await collect();
    told.push(grown());
    say(told.join(' '));
  };
  main();
`;

const KEPT = [expect.closeTo(0, -1), expect.closeTo(24, -1), expect.closeTo(24, -1)];

describe.skipIf(binary.includes('-musl'))('keepHeap', () => {
  it('keeps large buffers out of the heap, and in it what was freed there', async () => {
    const { status, output } = await runChild(`native.keepHeap(); ${watchHeap}`, { flags: ['--expose-gc'] });
    expect({ status, grown: output.trim().split(' ').map(Number) }).toEqual({ status: 0, grown: KEPT });
  });
});
