import { describe, expect, it } from 'vitest';
import { Errno } from '../../src/errors/index.ts';
import { body, optional } from '../../src/protocol/body.ts';
import { flags } from '../../src/protocol/flags.ts';
import { struct, u8, u16, u32, u64 } from '../../src/protocol/index.ts';
import { payload } from '../../src/protocol/payload.ts';
import { array, bytes, older } from '../../src/protocol/tails.ts';
import { at, hex, refused, toHex } from './support.ts';

const Bits = flags({ EXTRA: 1, OTHER: 2 }, { EXTRA: 'extra', OTHER: 'other' });
const Plain = struct('plain', {
  kind: u8('kind', { only: 7 }),
  flags: u8('flags', { format: Bits, strict: true }),
});
const Entry = struct('entry', { id: u16('id'), weight: u16('weight') });
const OldEntry = struct('old entry', { id: u16('id') });

describe('a fixed part alone', () => {
  const plain = payload('plain request', { fixed: Plain });

  it('decodes and encodes', () => {
    expect(plain.decode(hex('0701'))).toEqual({ kind: 7, flags: 1 });
    expect(toHex(plain.encode({ kind: 7, flags: 3 }))).toBe('0703');
  });

  it.each([
    ['nothing', '', at('EINVAL', 'kind', 0)],
    ['less than all', '07', at('EINVAL', 'flags', 1)],
    ['too much', '070100', at('EINVAL', 'payload', 2)],
    ['another than the only value', '0801', at('EINVAL', 'kind', 0)],
    ['unknown flags', '0705', at('EINVAL', 'flags', 1)],
  ])('refuses %s, naming field and byte', (_, text, refusal) => {
    expect(refused(() => plain.decode(hex(text)))).toEqual(refusal);
  });

  it('refuses to send what it would refuse to receive', () => {
    expect(refused(() => plain.encode({ kind: 8, flags: 1 }))).toEqual(at('EINVAL', 'kind', 0));
    expect(refused(() => plain.encode({ kind: 7, flags: 4 }))).toEqual(at('EINVAL', 'flags', 1));
  });
});

it('ignores trailing bytes only where that is declared', () => {
  const lenient = payload('lenient', { fixed: Plain, trailing: 'tolerated' });
  expect(lenient.decode(hex('0701 ffff'))).toEqual({ kind: 7, flags: 1 });
});

describe('an array tail', () => {
  const list = payload('list', {
    fixed: struct('head', { count: u64('how many') }),
    tail: array('entries', 'the entries', Entry, {
      count: 'count',
      older: [older(OldEntry, ({ id }) => ({ id, weight: 0 }))],
    }),
  });

  it('computes the count', () => {
    const bytes = list.encode({
      entries: [
        { id: 1, weight: 2 },
        { id: 3, weight: 4 },
      ],
    });
    expect(toHex(bytes)).toBe('0200000000000000 0100 0200 0300 0400'.replaceAll(' ', ''));
    expect(list.decode(bytes)).toEqual({
      count: 2n,
      entries: [
        { id: 1, weight: 2 },
        { id: 3, weight: 4 },
      ],
    });
  });

  it('tells an older form of the elements by their size', () => {
    const bytes = hex('0200000000000000 0100 0300');
    expect(list.decode(bytes).entries).toEqual([
      { id: 1, weight: 0 },
      { id: 3, weight: 0 },
    ]);
  });

  it.each([
    ['more than there are', '0200000000000000 0100'],
    ['more than a number can hold', 'ffffffffffffffff 0100 0200'],
  ])('refuses a count of %s before it allocates anything', (_, text) => {
    expect(refused(() => list.decode(hex(text)))).toMatchObject({ errno: 'EINVAL', byte: 8 });
  });

  it('refuses bytes after the last element', () => {
    expect(refused(() => list.decode(hex('0100000000000000 0100 0200 00')))).toEqual(
      at('EINVAL', 'payload', 12),
    );
  });
});

describe('a bytes tail', () => {
  const data = payload('data', {
    fixed: struct('head', { length: u32('how many') }),
    tail: bytes('data', 'the data', { length: 'length' }),
  });

  it('is a view of the message, not a copy', () => {
    const message = hex('02000000 aabb');
    const decoded = data.decode(message);
    message[4] = 0xcc;
    expect(toHex(decoded.data)).toBe('ccbb');
  });

  it('must be as long as it says', () => {
    expect(refused(() => data.decode(hex('03000000 aabb')))).toEqual(at('EINVAL', 'data', 4));
    expect(refused(() => data.decode(hex('01000000 aabb')))).toEqual(at('EINVAL', 'payload', 5));
  });

  it('must be a multiple of its unit', () => {
    const words = payload('words', { fixed: struct('none', {}), tail: bytes('words', 'words', { unit: 8 }) });
    expect(words.decode(new Uint8Array(16)).words).toHaveLength(16);
    expect(refused(() => words.decode(new Uint8Array(12)))).toEqual(at('EINVAL', 'words', 0));
  });
});

describe('an optional part', () => {
  const extra = payload('extra', {
    fixed: Plain,
    tail: optional(
      'more',
      'more of it',
      Bits.EXTRA,
      body(struct('more', { size: u16('bytes') }), bytes('data', 'data', { length: 'size' })),
    ),
  });

  it('is null without its flag', () => {
    expect(extra.decode(hex('0702'))).toEqual({ kind: 7, flags: 2, more: null });
    expect(toHex(extra.encode({ kind: 7, flags: 2, more: null }))).toBe('0702');
  });

  it('is read with its flag, and its own length is computed', () => {
    const bytes = extra.encode({ kind: 7, flags: 1, more: { size: 0, data: hex('aabb') } });
    expect(toHex(bytes)).toBe('07010200aabb');
    expect(extra.decode(bytes).more).toEqual({ size: 2, data: hex('aabb') });
  });

  it('must be there with its flag', () => {
    expect(refused(() => extra.decode(hex('0701')))).toEqual(at('EINVAL', 'size', 2));
    expect(refused(() => extra.decode(hex('07010200aa')))).toEqual(at('EINVAL', 'data', 4));
  });
});

describe('an older form of the fixed part', () => {
  const grown = payload('grown', {
    fixed: Entry,
    older: older(OldEntry, ({ id }) => ({ id, weight: 9 })),
  });

  it('is accepted when the payload is exactly as long, and never sent', () => {
    expect(grown.minSize).toBe(2);
    expect(grown.decode(hex('0100'))).toEqual({ id: 1, weight: 9 });
    expect(grown.encode({ id: 1, weight: 9 })).toHaveLength(4);
    expect(refused(() => grown.decode(hex('010000')))).toEqual(at('EINVAL', 'weight', 2));
  });
});

describe('rules', () => {
  const ruled = payload('ruled', {
    fixed: Entry,
    tail: bytes('data', 'data'),
    fixedRules: [{ field: 'id', must: 'be odd', source: 'test', holds: ({ id }) => id % 2 === 1 }],
    rules: [
      {
        field: 'weight',
        must: 'be small',
        source: 'test',
        errno: Errno.E2BIG,
        holds: ({ weight }) => weight < 10,
      },
    ],
    fdRules: [{ must: 'be at most weight', source: 'test', holds: ({ weight }, fds) => fds <= weight }],
  });

  it('refuse with their own errno and the byte of their field', () => {
    expect(refused(() => ruled.decode(hex('0200 0100')))).toEqual(at('EINVAL', 'id', 0));
    expect(refused(() => ruled.decode(hex('0100 0a00')))).toEqual(at('E2BIG', 'weight', 2));
    expect(refused(() => ruled.encode({ id: 1, weight: 10, data: hex('') }))).toEqual(
      at('E2BIG', 'weight', 2),
    );
  });

  it('on descriptors are checked when their number is known', () => {
    expect(ruled.decode(hex('0100 0100'), 1)).toMatchObject({ weight: 1 });
    expect(refused(() => ruled.decode(hex('0100 0100'), 2))).toMatchObject({ field: 'file descriptors (2)' });
    expect(refused(() => ruled.encode({ id: 1, weight: 0, data: hex('') }, 1))).toMatchObject({
      errno: 'EINVAL',
    });
    expect(ruled.decode(hex('0100 0000'))).toMatchObject({ weight: 0 });
  });
});
