import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ELEMENT_SIZE,
  type FieldType,
  type ImagePart,
  PAGE_SIZE,
  StateReader,
  StateWriter,
} from '../../src/stream/index.ts';
import { drain, feed, ModelImage, save } from './model-image.ts';

const name = fc.stringMatching(/^[A-Za-z0-9_]{1,12}$/);
const type = fc.constantFrom<FieldType>('u8', 'u16', 'u32', 'u64', 'bool', 'bytes');
const field = fc.record({ name, type, count: fc.integer({ min: 1, max: 20 }), since: fc.constant(1) });
const block = fc.record({
  name,
  size: fc.integer({ min: 1, max: 6 }).map((n) => n * PAGE_SIZE),
  since: fc.constant(1),
});

const somePart = fc
  .record({
    name: fc.stringMatching(/^[a-z0-9]{0,8}$/),
    version: fc.integer({ min: 1, max: 9 }),
    fields: fc.uniqueArray(field, { selector: (each) => each.name, maxLength: 6 }),
    blocks: fc.uniqueArray(block, { selector: (each) => each.name, maxLength: 3 }),
  })
  .map(({ fields, blocks, ...rest }): ImagePart => {
    const taken = new Set(fields.map((each) => each.name));
    return { ...rest, oldest: 1, fields, blocks: blocks.filter((each) => !taken.has(each.name)) };
  });
const someParts = fc.uniqueArray(somePart, { selector: (each) => each.name, maxLength: 4 });
const someSizes = fc.array(fc.integer({ min: 1, max: 20_000 }), { minLength: 1, maxLength: 5 });

/** Gives every field and about half of the pages values that follow from `seed`. */
function fill(image: ModelImage, seed: number): void {
  let state = seed;
  const next = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state >>> 16;
  };
  const types = new Map(
    image.schema.parts.flatMap((part) =>
      part.fields.map(
        (each) => [part.name === '' ? each.name : `${part.name}.${each.name}`, each.type] as const,
      ),
    ),
  );
  for (const [key, value] of image.values) {
    for (let i = 0; i < value.length; i += 1) value[i] = types.get(key) === 'bool' ? next() & 1 : next();
  }
  for (const { bytes } of image.blocks) {
    for (let at = 0; at < bytes.length; at += PAGE_SIZE) {
      if (next() % 2 === 0) bytes.fill(next(), at + (next() % PAGE_SIZE), at + PAGE_SIZE);
    }
  }
}

describe('any state', () => {
  it('arrives as it was saved, whatever it consists of and however it is cut', () => {
    fc.assert(
      fc.property(someParts, fc.nat(), someSizes, someSizes, (parts, seed, reads, writes) => {
        const [source, target] = [new ModelImage(parts), new ModelImage(parts)];
        fill(source, seed);
        fill(target, seed + 1);
        const stream = save(source, reads);
        const reader = new StateReader(target);
        feed(reader, stream, writes);
        expect(reader.complete).toBe(true);
        expect(target.content).toEqual(source.content);
        const fields = parts.flatMap((part) => part.fields);
        const bytes = fields.reduce((sum, each) => sum + ELEMENT_SIZE[each.type] * each.count, 0);
        expect(stream.length).toBeGreaterThan(bytes);
      }),
      { numRuns: 150 },
    );
  });
});

/** Something that happens to a device while its state is read. */
type Event =
  | { readonly sort: 'read'; readonly size: number }
  | {
      readonly sort: 'write' | 'sneak';
      readonly block: number;
      readonly offset: number;
      readonly length: number;
      readonly value: number;
    }
  | { readonly sort: 'ask' };

const change = fc.record({
  sort: fc.constantFrom('write' as const, 'sneak' as const),
  block: fc.nat(1),
  offset: fc.nat(6 * PAGE_SIZE),
  length: fc.integer({ min: 1, max: 9000 }),
  value: fc.nat(255),
});
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ sort: fc.constant('read' as const), size: fc.integer({ min: 0, max: 12_000 }) }),
  },
  { weight: 3, arbitrary: change },
  { weight: 1, arbitrary: fc.record({ sort: fc.constant('ask' as const) }) },
);

const BLOCKS: readonly ImagePart[] = [
  {
    name: '',
    version: 1,
    oldest: 1,
    fields: [{ name: 'ticks', type: 'u32', count: 1, since: 1 }],
    blocks: ['a', 'b'].map((each, i) => ({ name: each, size: (3 + 2 * i) * PAGE_SIZE, since: 1 })),
  },
];

function apply(image: ModelImage, change: Extract<Event, { block: number }>): void {
  const block = image.blocks[change.block];
  if (block === undefined) return;
  const offset = change.offset % block.size;
  const data = new Uint8Array(Math.min(change.length, block.size - offset)).fill(change.value);
  if (change.sort === 'write') block.write(offset, data);
  else block.bytes.set(data, offset);
}

describe('a state that changes while it is read in PRE_COPY', () => {
  it('arrives as it was when the device stopped', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), someSizes, (events, sizes) => {
        const [source, target] = [new ModelImage(BLOCKS), new ModelImage(BLOCKS)];
        const reader = new StateReader(target);
        const writer = new StateWriter(source);
        writer.start();
        for (const each of events) {
          if (each.sort === 'read') {
            const piece = new Uint8Array(each.size);
            feed(reader, piece.subarray(0, writer.read(piece)), sizes);
          } else if (each.sort === 'ask') {
            const { initialBytes, dirtyBytes } = writer.precopyInfo();
            expect(initialBytes >= 0n && dirtyBytes >= 0n).toBe(true);
          } else {
            apply(source, each);
          }
        }
        source.values.set('ticks', Uint8Array.of(1, 2, 3, 4));
        writer.stop();
        const bound = writer.remainingBytes();
        const rest = drain(writer, sizes);
        expect(bound).toBeGreaterThanOrEqual(BigInt(rest.length));
        feed(reader, rest, sizes);
        expect(reader.complete).toBe(true);
        expect(target.content).toEqual(source.content);
      }),
      { numRuns: 300 },
    );
  });
});
