import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import {
  type BlockSchema,
  type FieldSchema,
  type ImageIdentity,
  type ImagePart,
  PAGE_SIZE,
  StateReader,
  StreamError,
} from '../../src/stream/index.ts';
import { feed, IDENTITY, ModelImage, part, save } from './model-image.ts';

function field(name: string, type: FieldSchema['type'] = 'u32', since = 1, count = 1): FieldSchema {
  return { name, type, count, since };
}

function block(name: string, pages = 1, since = 1): BlockSchema {
  return { name, size: pages * PAGE_SIZE, since };
}

/** Loads what `from` saves into `to`; the error, or null. */
function load(from: ModelImage, to: ModelImage): StreamError | null {
  try {
    feed(new StateReader(to), save(from));
    return null;
  } catch (error) {
    if (error instanceof StreamError) return error;
    throw error;
  }
}

const image = (parts: readonly ImagePart[], identity: Partial<ImageIdentity> = {}) =>
  new ModelImage(parts, identity);

describe('identity', () => {
  const others: readonly Partial<ImageIdentity>[] = [
    { kind: 'other' },
    { vendor: 1 },
    { device: 1 },
    { subsystemVendor: 1 },
    { subsystemDevice: 1 },
    { revision: 1 },
    { classCode: 1 },
  ];
  it.each(others)('that differs in %o is refused, naming what differs', (other) => {
    const error = load(image([part({})]), image([part({})], other));
    expect(error).toMatchObject({ code: 'ERR_STREAM_IDENTITY', errno: Errno.EINVAL });
    expect(error?.message).toContain(Object.keys(other)[0]);
  });

  it('that differs in several ways is reported in one sentence', () => {
    const error = load(image([part({})]), image([part({})], { vendor: 1, revision: 2 }));
    expect(error?.message).toContain('vendor 0x1234, here 0x1, revision 0x10, here 0x2');
  });

  it('that is equal is accepted', () => {
    expect(load(image([part({})]), image([part({})], IDENTITY))).toBeNull();
  });
});

/** A device whose state has grown: `b` came with version 2, the block `extra` and `c` with version 3. */
function atVersion(version: number, oldest: number): ModelImage {
  const fields = [field('a'), field('b', 'u64', 2), field('c', 'bytes', 3, 5)];
  const blocks = [block('ram'), block('extra', 2, 3)];
  const known = <T extends { readonly since: number }>(entries: readonly T[]) =>
    entries.filter(({ since }) => since <= version);
  return image([part({ version, oldest, fields: known(fields), blocks: known(blocks) })]);
}

describe('versions', () => {
  const matrix = [1, 2, 3].flatMap((from) =>
    [1, 2, 3].flatMap((to) =>
      [1, 2, 3].filter((oldest) => oldest <= to).map((oldest) => ({ from, to, oldest })),
    ),
  );

  it.each(matrix)('state $from into a device that knows $oldest to $to', ({ from, to, oldest }) => {
    const target = atVersion(to, oldest);
    const error = load(atVersion(from, 1), target);
    if (from > to || from < oldest) {
      expect(error).toMatchObject({ code: 'ERR_STREAM_VERSION', errno: Errno.EINVAL });
      expect(error?.message).toContain(from > to ? 'update the destination' : `older than the ${oldest}`);
    } else {
      expect(error).toBeNull();
      expect(target.loads).toEqual([new Map([['', from]])]);
    }
  });

  it('are those of each part, not of the whole', () => {
    const parts = (author: number, library: number) => [
      part({ version: author }),
      part({ name: 'pci', version: library }),
    ];
    expect(load(image(parts(1, 2)), image(parts(2, 2)))).toBeNull();
    expect(load(image(parts(1, 2)), image(parts(2, 1)))?.message).toContain('part "pci" has version 2');
  });
});

describe('schema', () => {
  const fields = [field('a'), field('b', 'u16', 1, 4)];
  const blocks = [block('ram')];
  const ours = part({ version: 2, fields: [...fields, field('young', 'u8', 2)], blocks });

  const cases: readonly (readonly [what: string, says: string, written: readonly ImagePart[]])[] = [
    ['a field that is missing', 'field b is missing', [part({ fields: [field('a')], blocks })]],
    ['an unknown field', 'field x is unknown', [part({ fields: [...fields, field('x')], blocks })]],
    [
      'a field that this version did not have yet',
      'field young is unknown',
      [part({ fields: [...fields, field('young', 'u8')], blocks })],
    ],
    [
      'a field missing from the version that has it',
      'field young is missing',
      [part({ version: 2, fields, blocks })],
    ],
    [
      'another type',
      'field a is u8, here u32',
      [part({ fields: [field('a', 'u8'), fields[1] ?? field('b')], blocks })],
    ],
    [
      'another type of the same size',
      'field b is u32[2], here u16[4]',
      [part({ fields: [field('a'), field('b', 'u32', 1, 2)], blocks })],
    ],
    [
      'another count',
      'field b is u16[3], here u16[4]',
      [part({ fields: [field('a'), field('b', 'u16', 1, 3)], blocks })],
    ],
    ['a block that is missing', 'block ram is missing', [part({ fields })]],
    ['an unknown block', 'block rom is unknown', [part({ fields, blocks: [...blocks, block('rom')] })]],
    [
      'another size',
      'block ram is 8192 bytes, here 4096 bytes',
      [part({ fields, blocks: [block('ram', 2)] })],
    ],
    ['a part too many', 'has part "pci"', [part({ fields, blocks }), part({ name: 'pci' })]],
    ['no part', "lacks the device's state", []],
  ];
  it.each(cases)('with %s is refused: %s', (_, says, written) => {
    const target = image([ours]);
    const error = load(image(written), target);
    expect(error).toMatchObject({ code: 'ERR_STREAM_SCHEMA', errno: Errno.EINVAL });
    expect(error?.message).toContain(says);
    expect(target.loads).toEqual([]);
  });

  it('may list parts, fields and blocks in another order', () => {
    const parts = [
      part({ fields, blocks: [block('ram'), block('rom', 3)] }),
      part({ name: 'pci', fields, blocks: [block('table')] }),
    ];
    const source = image(
      parts
        .toReversed()
        .map((each) => part({ ...each, fields: each.fields.toReversed(), blocks: each.blocks.toReversed() })),
    );
    let seed = 1;
    for (const bytes of [...source.values.values(), ...source.blocks.map((each) => each.bytes)])
      bytes.fill(seed++);
    const target = image(parts);
    expect(load(source, target)).toBeNull();
    expect(target.content).toEqual(source.content);
  });
});
