import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PAGE_SIZE, StateWriter, StreamError } from '../../src/stream/index.ts';
import { cut, forgeComplete } from './forge.ts';
import { drain, ModelImage, part, sampleImage, save } from './model-image.ts';

const NONE = { initialBytes: 0n, dirtyBytes: 0n };

/** A device with one block of `pages` pages, none of them zero. */
function withPages(pages: number): ModelImage {
  const image = new ModelImage([part({ blocks: [{ name: 'ram', size: pages * PAGE_SIZE, since: 1 }] })]);
  image.block('ram').bytes.fill(1);
  return image;
}

function started(image: ModelImage): StateWriter {
  const writer = new StateWriter(image);
  writer.start();
  return writer;
}

describe('the stream of a stopped device', () => {
  it('is what the documentation says, byte for byte', () => {
    const image = sampleImage();
    const header = {
      identity: image.identity,
      parts: [
        {
          name: '',
          version: 1,
          fields: [
            { name: 'ticks', type: 'u32', count: 1 },
            { name: 'on', type: 'bool', count: 1 },
          ],
          blocks: [{ name: 'ram', size: 8192 }],
        },
        { name: 'pci', version: 1, fields: [{ name: 'config', type: 'bytes', count: 16 }], blocks: [] },
      ],
    };
    const config = Uint8Array.from({ length: 16 }, (_, i) => 0xf0 + i);
    const expected = forgeComplete([
      { type: 1, data: Buffer.from(JSON.stringify(header)) },
      { type: 2, data: image.block('ram').bytes.subarray(0, PAGE_SIZE) },
      { type: 3, offset: BigInt(PAGE_SIZE), length: BigInt(PAGE_SIZE) },
      { type: 4, data: Uint8Array.of(1, 2, 3, 4, 1, ...config) },
    ]);
    expect(save(image).equals(expected)).toBe(true);
  });

  it('is the same whatever the sizes of the reads', () => {
    const whole = save(sampleImage(), [1 << 20]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 8 }), (sizes) => {
        expect(save(sampleImage(), sizes).equals(whole)).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  it('fills every read until the end, and then returns 0 for ever', () => {
    const writer = started(sampleImage());
    writer.stop();
    const target = new Uint8Array(100);
    const counts: number[] = [];
    for (let count = writer.read(target); count > 0; count = writer.read(target)) counts.push(count);
    expect(counts.slice(0, -1).every((count) => count === 100)).toBe(true);
    expect([writer.read(target), writer.read(target), writer.remainingBytes()]).toEqual([0, 0, 0n]);
  });

  it('has records of at most 1 MiB for long runs', () => {
    const lengths = cut(save(withPages(600)))
      .filter(({ type }) => type === 2)
      .map(({ length }) => length);
    expect(lengths).toEqual([1048576n, 1048576n, 360448n]);
  });

  it('is small for a block that is mostly zero', () => {
    const image = withPages(4096);
    image.block('ram').bytes.fill(0, PAGE_SIZE);
    expect(save(image).length).toBeLessThan(6000);
  });

  it('needs no blocks and no fields', () => {
    expect(cut(save(new ModelImage([]))).map(({ type }) => type)).toEqual([1, 4, 5]);
  });
});

describe('PRE_COPY', () => {
  it('returns 0 when nothing is dirty and goes on when something is', () => {
    const image = withPages(4);
    const writer = started(image);
    const first = cut(drain(writer));
    expect(first.map(({ type, length }) => [type, length])).toEqual([
      [1, first[0]?.length],
      [2, 4n * 4096n],
    ]);
    expect(writer.read(new Uint8Array(10))).toBe(0);
    image.block('ram').write(PAGE_SIZE + 5, Uint8Array.of(9));
    const target = Buffer.alloc(1 << 20);
    expect(writer.read(target)).toBe(32 + PAGE_SIZE + 4);
    expect([target.readUInt32LE(0), target.readBigUInt64LE(8), target[32 + 5]]).toEqual([2, 4096n, 9]);
  });

  it('looks for unreported writes once it has run dry, and at most once in a read', () => {
    const image = withPages(4);
    const writer = started(image);
    writer.read(new Uint8Array(100));
    expect(image.block('ram').refreshes).toBe(0);
    drain(writer, [1 << 20]);
    expect(image.block('ram').refreshes).toBe(1);
    image.block('ram').bytes[3 * PAGE_SIZE] = 77;
    const target = Buffer.alloc(1 << 20);
    expect(writer.read(target)).toBe(32 + PAGE_SIZE + 4);
    expect(image.block('ram').refreshes).toBe(2);
    expect(target[32]).toBe(77);
  });

  it('finds a write that happened after the last read when it stops', () => {
    const image = withPages(2);
    const writer = started(image);
    drain(writer);
    image.block('ram').bytes[0] = 55;
    writer.stop();
    const records = cut(Buffer.concat([save(withPages(2)).subarray(0, 16), drain(writer)]));
    expect(records.map(({ type }) => type)).toEqual([2, 4, 5]);
    expect(records[0]?.data?.[0]).toBe(55);
  });

  it('reads the fields after the stop', () => {
    const image = sampleImage();
    const writer = started(image);
    const before = drain(writer);
    image.values.set('ticks', Uint8Array.of(9, 9, 9, 9));
    writer.stop();
    const fields = cut(Buffer.concat([before, drain(writer)])).find(({ type }) => type === 4);
    expect(fields?.data?.subarray(0, 4)).toEqual(Buffer.of(9, 9, 9, 9));
  });

  it('takes turns between blocks, so that a busy one starves no other', () => {
    const blocks = ['a', 'b'].map((name) => ({ name, size: 512 * PAGE_SIZE, since: 1 }));
    const image = new ModelImage([part({ blocks })]);
    for (const block of image.blocks) block.bytes.fill(1);
    const writer = started(image);
    const seen: Buffer[] = [];
    for (let turn = 0; turn < 6; turn += 1) {
      const target = Buffer.alloc(256 * PAGE_SIZE);
      seen.push(target.subarray(0, writer.read(target)));
      image.block('a').write(0, Uint8Array.of(turn));
    }
    writer.stop();
    const order = cut(Buffer.concat([...seen, drain(writer)]))
      .filter(({ type }) => type === 2)
      .map(({ block }) => block);
    expect(order.slice(0, 4)).toEqual([0, 0, 1, 1]);
  });
});

describe('precopyInfo', () => {
  it('counts the first pass as initial and what changed behind it as dirty', () => {
    const image = withPages(512);
    const writer = started(image);
    const all = writer.precopyInfo();
    expect(all.initialBytes).toBeGreaterThan(512n * 4096n);
    expect(all.dirtyBytes).toBe(0n);
    writer.read(new Uint8Array(256 * PAGE_SIZE));
    const half = writer.precopyInfo();
    expect(half.initialBytes).toBeLessThan(all.initialBytes - 255n * 4096n);
    image.block('ram').write(0, Uint8Array.of(3));
    expect(writer.precopyInfo()).toEqual({ initialBytes: half.initialBytes, dirtyBytes: 4096n });
    image.block('ram').write(511 * PAGE_SIZE, Uint8Array.of(3));
    expect(writer.precopyInfo().initialBytes).toBe(half.initialBytes);
    drain(writer);
    expect(writer.precopyInfo()).toEqual(NONE);
  });

  it('counts what is left of a record that was begun', () => {
    const image = withPages(1);
    const writer = started(image);
    drain(writer);
    image.block('ram').write(0, Uint8Array.of(3));
    writer.read(new Uint8Array(100));
    expect(writer.precopyInfo()).toEqual({ initialBytes: 0n, dirtyBytes: 32n + 4096n + 4n - 100n });
  });

  it('looks for unreported writes when it is dry', () => {
    const image = withPages(4);
    const writer = started(image);
    drain(writer);
    image.block('ram').bytes[0] = 200;
    expect(writer.precopyInfo()).toEqual({ initialBytes: 0n, dirtyBytes: 4096n });
  });

  it('is zero exactly when a read returns nothing', () => {
    const image = withPages(3);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 9000 }), { maxLength: 12 }), (sizes) => {
        const writer = started(image);
        for (const size of sizes) {
          const { initialBytes, dirtyBytes } = writer.precopyInfo();
          const count = writer.read(new Uint8Array(size));
          expect(count > 0).toBe(size > 0 && initialBytes + dirtyBytes > 0n);
          if (size % 3 === 0) image.block('ram').write(size, Uint8Array.of(size));
        }
      }),
    );
  });
});

describe('remainingBytes', () => {
  it('bounds the rest of the stream from above at every point, and is not far off', () => {
    const image = sampleImage();
    const whole = save(image);
    const writer = new StateWriter(image);
    expect(writer.remainingBytes()).toBeGreaterThanOrEqual(BigInt(whole.length));
    writer.start();
    writer.stop();
    const target = new Uint8Array(97);
    for (let left = whole.length; left > 0; left -= writer.read(target)) {
      const bound = Number(writer.remainingBytes());
      expect(bound).toBeGreaterThanOrEqual(left);
      expect(bound - left).toBeLessThanOrEqual(PAGE_SIZE + 200);
    }
  });

  it('bounds it also when every second page is dirty', () => {
    const image = withPages(64);
    const writer = started(image);
    drain(writer);
    for (let page = 0; page < 64; page += 2) image.block('ram').write(page * PAGE_SIZE, Uint8Array.of(page));
    writer.stop();
    const bound = writer.remainingBytes();
    expect(bound).toBeGreaterThanOrEqual(BigInt(drain(writer).length));
  });
});

describe('a session', () => {
  it('tracks the blocks from start to close, however it ends', () => {
    const image = withPages(1);
    const writer = new StateWriter(image);
    expect(image.block('ram').tracking).toBe(false);
    writer.start();
    expect(image.block('ram').tracking).toBe(true);
    writer.close();
    expect(image.block('ram').tracking).toBe(false);
    writer.close();
  });

  const misuses = [
    ['read before start', 'idle', (writer: StateWriter) => writer.read(new Uint8Array(1))],
    ['stop before start', 'idle', (writer: StateWriter) => writer.stop()],
    ['a second start', 'started', (writer: StateWriter) => writer.start()],
    ['read after close', 'closed', (writer: StateWriter) => writer.read(new Uint8Array(1))],
    ['precopyInfo after close', 'closed', (writer: StateWriter) => writer.precopyInfo()],
  ] as const;
  it.each(misuses)('refuses %s with ENODEV', (_, phase, misuse) => {
    const writer = new StateWriter(withPages(1));
    if (phase !== 'idle') writer.start();
    if (phase === 'closed') writer.close();
    expect(() => misuse(writer)).toThrow(expect.objectContaining({ code: 'ERR_STREAM_CLOSED', errno: 19 }));
  });

  it('refuses a device that saves a field with the wrong size', () => {
    const image = sampleImage();
    image.values.set('ticks', new Uint8Array(3));
    const writer = started(image);
    writer.stop();
    expect(() => drain(writer)).toThrow(StreamError);
    image.values.delete('ticks');
    const other = started(image);
    other.stop();
    expect(() => drain(other)).toThrow('field ticks takes 4 bytes, the device saved none');
  });
});
