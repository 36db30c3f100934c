import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { type ImagePart, PAGE_SIZE, requireSoundImage, StateReader } from '../../src/stream/index.ts';
import { forge } from './forge.ts';
import { IDENTITY, ModelImage, part } from './model-image.ts';

const GOOD = { identity: IDENTITY, parts: [{ name: '', version: 1, fields: [], blocks: [] }] };

function withPart(changes: object): object {
  return { ...GOOD, parts: [{ ...GOOD.parts[0], ...changes }] };
}

function withField(changes: object): object {
  return withPart({ fields: [{ name: 'a', type: 'u32', count: 1, ...changes }] });
}

function withBlock(changes: object): object {
  return withPart({ blocks: [{ name: 'a', size: 4096, ...changes }] });
}

const many = (count: number, make: (index: number) => object) =>
  Array.from({ length: count }, (_, index) => make(index));

describe('a HEADER', () => {
  const malformed: readonly (readonly [what: string, data: object | string | Uint8Array])[] = [
    ['bytes that are no UTF-8', Uint8Array.of(0x22, 0xff, 0x22)],
    ['text that is no JSON', '{"identity":'],
    ['deeply nested JSON', '['.repeat(60_000)],
    ['null', 'null'],
    ['a number', '1'],
    ['an empty object', '{}'],
    ['no identity', { parts: GOOD.parts }],
    ['no parts', { identity: IDENTITY }],
    ['parts that are no list', { ...GOOD, parts: {} }],
    ['a part that is null', { ...GOOD, parts: [null] }],
    ['17 parts', { ...GOOD, parts: many(17, (i) => ({ ...GOOD.parts[0], name: `p${i}` })) }],
    ['the same part twice', { ...GOOD, parts: [GOOD.parts[0], GOOD.parts[0]] }],
    ['a kind that is a number', { ...GOOD, identity: { ...IDENTITY, kind: 1 } }],
    ['an empty kind', { ...GOOD, identity: { ...IDENTITY, kind: '' } }],
    ['a kind of 65 characters', { ...GOOD, identity: { ...IDENTITY, kind: 'k'.repeat(65) } }],
    ['a kind with a line break', { ...GOOD, identity: { ...IDENTITY, kind: 'a\nb' } }],
    ['a vendor of 17 bits', { ...GOOD, identity: { ...IDENTITY, vendor: 0x10000 } }],
    ['a negative device', { ...GOOD, identity: { ...IDENTITY, device: -1 } }],
    ['a revision that is no integer', { ...GOOD, identity: { ...IDENTITY, revision: 1.5 } }],
    ['a class that is a string', { ...GOOD, identity: { ...IDENTITY, classCode: '1' } }],
    ['a part with a capital', withPart({ name: 'Pci' })],
    ['a part without a name', withPart({ name: undefined })],
    ['version 0', withPart({ version: 0 })],
    ['version 2^32', withPart({ version: 2 ** 32 })],
    ['a version that is a string', withPart({ version: '1' })],
    ['fields that are no list', withPart({ fields: 3 })],
    ['a field without a name', withField({ name: undefined })],
    ['a field with an empty name', withField({ name: '' })],
    ['a field with a dot', withField({ name: 'pci.command' })],
    ['a field with 65 characters', withField({ name: 'x'.repeat(65) })],
    ['an unknown type', withField({ type: 'u128' })],
    ['a type from the prototype', withField({ type: 'toString' })],
    ['no elements', withField({ count: 0 })],
    ['a negative count', withField({ count: -1 })],
    ['half an element', withField({ count: 0.5 })],
    ['2^53 elements', withField({ count: 2 ** 53 })],
    ['more than 16 MiB of fields', withField({ type: 'u64', count: 2 * 1024 * 1024 + 1 })],
    ['the same field twice', withPart({ fields: many(2, () => ({ name: 'a', type: 'u8', count: 1 })) })],
    ['1025 fields', withPart({ fields: many(1025, (i) => ({ name: `f${i}`, type: 'u8', count: 1 })) })],
    ['a block of no bytes', withBlock({ size: 0 })],
    ['a block of half a page', withBlock({ size: 2048 })],
    ['a block of 2^53 bytes', withBlock({ size: 2 ** 53 })],
    ['a block of negative size', withBlock({ size: -4096 })],
    ['a block without a name', withBlock({ name: 7 })],
    ['65 blocks', withPart({ blocks: many(65, (i) => ({ name: `b${i}`, size: 4096 })) })],
    [
      'a field and a block of one name',
      withPart({ fields: [{ name: 'a', type: 'u8', count: 1 }], blocks: [{ name: 'a', size: 4096 }] }),
    ],
  ];

  it.each(malformed)('with %s is malformed', (_, value) => {
    const data =
      value instanceof Uint8Array
        ? value
        : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
    const reader = new StateReader(new ModelImage([part({})]));
    expect(() => reader.write(forge([{ type: 1, data }]))).toThrow(
      expect.objectContaining({ code: 'ERR_STREAM_MALFORMED', errno: Errno.EBADMSG, offset: 16 }),
    );
  });

  it('may have members that this version does not know', () => {
    const reader = new StateReader(new ModelImage([part({})]));
    const data = Buffer.from(JSON.stringify({ ...GOOD, writer: 'a later one' }));
    expect(() => reader.write(forge([{ type: 1, data }]))).not.toThrow();
  });
});

describe('requireSoundImage', () => {
  const unsound: readonly (readonly [what: string, says: string, image: ModelImage])[] = [
    ['an oldest version above its own', 'oldest', new ModelImage([part({ version: 2, oldest: 3 })])],
    ['version 0', 'version 0', new ModelImage([part({ version: 0 })])],
    [
      'a field from the future',
      'young: since',
      new ModelImage([part({ fields: [{ name: 'young', type: 'u8', count: 1, since: 2 }] })]),
    ],
    ['a kind of no characters', 'kind ""', new ModelImage([part({})], { kind: '' })],
    ['a vendor of 17 bits', 'vendor', new ModelImage([part({})], { vendor: 65536 })],
    [
      'a description of more than 64 KiB',
      'description takes',
      new ModelImage([
        part({
          fields: Array.from({ length: 800 }, (_, i) => ({
            name: `${'long_name_'.repeat(6)}${i}`,
            type: 'bytes',
            count: 1,
            since: 1,
          })),
        }),
      ]),
    ],
  ];
  it.each(unsound)('refuses %s', (_, says, image) => {
    expect(() => requireSoundImage(image)).toThrow(
      expect.objectContaining({ code: 'ERR_STREAM_SCHEMA', message: expect.stringContaining(says) }),
    );
  });

  const declared: ImagePart = part({ blocks: [{ name: 'ram', size: PAGE_SIZE, since: 1 }] });
  const image = (blocks: ModelImage['blocks']) => Object.assign(new ModelImage([declared]), { blocks });
  it.each([
    ['a block that is not there', 'declares block ram of 4096 bytes and has none', []],
    [
      'another block',
      'and has rom of',
      new ModelImage([part({ blocks: [{ name: 'rom', size: 4096, since: 1 }] })]).blocks,
    ],
    [
      'another size',
      'of 8192 bytes',
      new ModelImage([part({ blocks: [{ name: 'ram', size: 8192, since: 1 }] })]).blocks,
    ],
    [
      'a block too many',
      'does not declare block ram',
      [...new ModelImage([declared]).blocks, ...new ModelImage([declared]).blocks],
    ],
  ])('refuses %s', (_, says, blocks) => {
    expect(() => requireSoundImage(image(blocks))).toThrow(says);
  });

  it('accepts what the limits allow', () => {
    const fields = Array.from({ length: 1000 }, (_, i) => ({
      name: `f${i}`,
      type: 'u8' as const,
      count: 1,
      since: 1,
    }));
    expect(() => requireSoundImage(new ModelImage([part({ fields })]))).not.toThrow();
  });
});
