import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Errno, FerryError } from '../../src/errors/index.ts';
import { PAGE_SIZE, StateReader, StreamError, type StreamErrorCode } from '../../src/stream/index.ts';
import { cut, type ForgedRecord, forge, forgeComplete, forgePreamble, totals } from './forge.ts';
import { feed, ModelImage, part, sampleImage, save } from './model-image.ts';

/** Like the sample, but nothing in it has a value. */
function emptyImage(): ModelImage {
  return new ModelImage(sampleImage().schema.parts);
}

/** What a reader makes of a stream: the error, or null. */
function errorOf(
  stream: Uint8Array,
  image: ModelImage = emptyImage(),
  sizes?: readonly number[],
): StreamError | null {
  const reader = new StateReader(image);
  try {
    feed(reader, stream, sizes);
    return null;
  } catch (error) {
    expect(reader.complete).toBe(false);
    if (error instanceof StreamError) return error;
    throw error;
  }
}

describe('loading', () => {
  it('brings the whole state into the device, in pieces of any size', () => {
    const source = sampleImage();
    const stream = save(source);
    const sizes = fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.oneof(fc.constant([1]), sizes), (pieces) => {
        const image = emptyImage();
        const reader = new StateReader(image);
        feed(reader, stream, pieces);
        expect(reader.complete).toBe(true);
        reader.finish();
        expect(image.content).toEqual(source.content);
        expect(image.loads).toEqual([
          new Map([
            ['', 1],
            ['pci', 1],
          ]),
        ]);
      }),
      { numRuns: 40 },
    );
  });

  it('clears what the state has as zero', () => {
    const image = emptyImage();
    for (const block of image.blocks) block.bytes.fill(0xee);
    feed(new StateReader(image), save(sampleImage()));
    expect(image.content).toEqual(sampleImage().content);
  });

  it('applies the fields at the last byte of the END and not before', () => {
    const stream = save(sampleImage());
    const image = emptyImage();
    const reader = new StateReader(image);
    reader.write(stream.subarray(0, -1));
    expect([reader.complete, image.loads.length]).toEqual([false, 0]);
    reader.write(stream.subarray(-1));
    expect([reader.complete, image.loads.length]).toEqual([true, 1]);
  });

  it('tells the blocks what was written', () => {
    const image = emptyImage();
    feed(new StateReader(image), save(sampleImage()), [1000]);
    const covered = image.block('ram').reported.reduce((sum, [, length]) => sum + length, 0);
    expect(covered).toBe(2 * PAGE_SIZE);
  });

  it('lets a later record replace an earlier one', () => {
    const [header, , zero, fields] = cut(save(sampleImage()));
    const pages = [1, 2, 3].map((value) => ({ type: 2, data: Buffer.alloc(PAGE_SIZE, value) }));
    const image = emptyImage();
    feed(new StateReader(image), forgeComplete(records(header, ...pages, zero, fields)));
    expect(image.block('ram').bytes[17]).toBe(3);
  });

  it('takes no notice of empty writes, also after the end', () => {
    const reader = new StateReader(emptyImage());
    reader.write(new Uint8Array(0));
    feed(reader, save(sampleImage()));
    reader.write(new Uint8Array(0));
    expect(reader.complete).toBe(true);
  });
});

/** Only the records that are there. */
function records(...of: readonly (ForgedRecord | undefined)[]): readonly ForgedRecord[] {
  return of.filter((record) => record !== undefined);
}

describe('damage', () => {
  const stream = save(sampleImage());

  it.each([0x01, 0x80, 0xff])(
    'of any single byte (xor 0x%s) is noticed before the state counts as complete',
    (flip) => {
      const image = emptyImage();
      for (let at = 0; at < stream.length; at += 1) {
        stream[at] = (stream[at] ?? 0) ^ flip;
        const error = errorOf(stream, image);
        stream[at] = (stream[at] ?? 0) ^ flip;
        if (error === null) throw new Error(`a change of byte ${at} goes unnoticed`);
        expect(error.errno).toBe(at < 8 ? Errno.EFAULT : Errno.EBADMSG);
        expect(error.offset).toBeLessThanOrEqual(Math.max(at, 0));
      }
      expect(image.loads).toEqual([]);
    },
  );

  it('by a cut at any byte leaves the state incomplete, and the rest can still come', () => {
    for (let at = 0; at < stream.length; at += 1) {
      const reader = new StateReader(emptyImage());
      reader.write(stream.subarray(0, at));
      expect(reader.complete).toBe(false);
      expect(() => reader.finish()).toThrow(
        expect.objectContaining({ code: 'ERR_STREAM_INCOMPLETE', errno: Errno.EINVAL, offset: at }),
      );
      reader.write(stream.subarray(at));
      expect(reader.complete).toBe(true);
    }
  });

  it('by records that are missing, repeated, exchanged or from another state is noticed', () => {
    const other = sampleImage();
    other.block('ram').bytes.fill(0x77, 0, 300);
    const [ours, theirs] = [cut(stream), cut(save(other))].map((list) => list.map(({ raw }) => raw));
    if (ours === undefined || theirs === undefined) throw new Error('two streams');
    const spliced = ours.flatMap((record, i) => [
      ['without', i, ours.toSpliced(i, 1)],
      ['twice', i, ours.toSpliced(i, 0, record)],
      ['of another', i, ours.toSpliced(i, 1, theirs[i] ?? record)],
      ...ours
        .slice(i + 1)
        .map((next, k) => ['exchanged', i, ours.toSpliced(i, 1, next).toSpliced(i + k + 1, 1, record)]),
    ]);
    for (const [what, i, pieces] of spliced) {
      const bytes = Buffer.concat([stream.subarray(0, 16), ...(pieces as Buffer[])]);
      const same = bytes.equals(stream);
      const image = emptyImage();
      const reader = new StateReader(image);
      try {
        reader.write(bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(StreamError);
      }
      expect([what, i, reader.complete]).toEqual([what, i, same]);
    }
  });

  it('lasts: every further call throws the same error, and close ends even that', () => {
    const reader = new StateReader(emptyImage());
    const broken = Uint8Array.from(stream).fill(0xaa, 32, 40);
    const first = catchError(() => reader.write(broken));
    expect(first).toBeInstanceOf(StreamError);
    expect(catchError(() => reader.write(stream))).toBe(first);
    expect(catchError(() => reader.finish())).toBe(first);
    reader.close();
    expect(catchError(() => reader.write(stream))).toMatchObject({
      code: 'ERR_STREAM_CLOSED',
      errno: Errno.ENODEV,
    });
  });
});

function catchError(run: () => void): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return null;
}

describe('a forged stream whose checksums are all right', () => {
  const [header, block, zero, fields, end] = cut(save(sampleImage()));
  const huge = 2n ** 64n - 1n;
  const ram = (offset: bigint, length: bigint, data?: Uint8Array) => ({
    type: data === undefined ? 3 : 2,
    offset,
    length,
    ...(data === undefined ? {} : { data }),
  });

  const cases: readonly (readonly [why: string, code: StreamErrorCode, stream: Buffer])[] = [
    ['another mark', 'ERR_STREAM_MAGIC', forgePreamble(1, '\x89FERRY\n\n')],
    ['a newer format', 'ERR_STREAM_FORMAT', forgePreamble(2)],
    ['no HEADER', 'ERR_STREAM_ORDER', forge(records(block))],
    ['an END first', 'ERR_STREAM_ORDER', forge([{ type: 5, data: totals(16, 0) }])],
    ['two HEADERs', 'ERR_STREAM_ORDER', forge(records(header, header))],
    ['two FIELDS', 'ERR_STREAM_ORDER', forge(records(header, block, zero, fields, fields))],
    ['a BLOCK after FIELDS', 'ERR_STREAM_ORDER', forge(records(header, block, zero, fields, block))],
    ['an END without FIELDS', 'ERR_STREAM_ORDER', forge(records(header, block, zero, end))],
    ['an unknown record', 'ERR_STREAM_ORDER', forge(records(header, { type: 6 }))],
    ['record type 0', 'ERR_STREAM_ORDER', forge(records(header, { type: 0 }))],
    ['record type 2^32 - 1', 'ERR_STREAM_ORDER', forge(records(header, { type: 0xffffffff }))],
    ['a wrong link', 'ERR_STREAM_ORDER', forge(records(header, block && { ...block, link: 7 }))],
    ['a wrong header checksum', 'ERR_STREAM_CHECKSUM', forge([{ type: 1, length: 1n, headerChecksum: 7 }])],
    [
      'a wrong data checksum',
      'ERR_STREAM_CHECKSUM',
      forge(records(header && { ...header, dataChecksum: 7 })),
    ],
    [
      'a checksum of nothing that is not 0',
      'ERR_STREAM_CHECKSUM',
      forge(records(header, { ...ram(0n, 4096n), dataChecksum: 1 })),
    ],
    ['an empty HEADER', 'ERR_STREAM_MALFORMED', forge([{ type: 1 }])],
    ['a HEADER of 64 KiB and a byte', 'ERR_STREAM_MALFORMED', forge([{ type: 1, length: 65537n }])],
    ['a HEADER of 2^32', 'ERR_STREAM_MALFORMED', forge([{ type: 1, length: 2n ** 32n }])],
    ['a HEADER of 2^64 - 1', 'ERR_STREAM_MALFORMED', forge([{ type: 1, length: huge }])],
    ['a HEADER with an offset', 'ERR_STREAM_MALFORMED', forge(records(header && { ...header, offset: 1n }))],
    ['a HEADER with a block', 'ERR_STREAM_MALFORMED', forge(records(header && { ...header, block: 1 }))],
    [
      'a block beyond the last',
      'ERR_STREAM_MALFORMED',
      forge(records(header, { ...ram(0n, 4096n), block: 1 })),
    ],
    [
      'block 2^32 - 1',
      'ERR_STREAM_MALFORMED',
      forge(records(header, { ...ram(0n, 4096n), block: 0xffffffff })),
    ],
    ['an offset within a page', 'ERR_STREAM_MALFORMED', forge(records(header, ram(1n, 4096n)))],
    ['a length within a page', 'ERR_STREAM_MALFORMED', forge(records(header, ram(0n, 4097n)))],
    ['an empty BLOCK', 'ERR_STREAM_MALFORMED', forge(records(header, ram(0n, 0n, new Uint8Array(0))))],
    ['an empty ZERO', 'ERR_STREAM_MALFORMED', forge(records(header, ram(0n, 0n)))],
    ['a ZERO over the end', 'ERR_STREAM_MALFORMED', forge(records(header, ram(4096n, 8192n)))],
    [
      'a BLOCK over the end',
      'ERR_STREAM_MALFORMED',
      forge(records(header, ram(4096n, 8192n, new Uint8Array(8192)))),
    ],
    ['a ZERO at the end', 'ERR_STREAM_MALFORMED', forge(records(header, ram(8192n, 4096n)))],
    ['a BLOCK of 2^53', 'ERR_STREAM_MALFORMED', forge(records(header, { type: 2, length: 2n ** 53n }))],
    [
      'a BLOCK of 2^64 - 4096',
      'ERR_STREAM_MALFORMED',
      forge(records(header, { type: 2, length: huge - 4095n })),
    ],
    ['a BLOCK at 2^64 - 4096', 'ERR_STREAM_MALFORMED', forge(records(header, ram(huge - 4095n, 4096n)))],
    ['a block that wraps around', 'ERR_STREAM_MALFORMED', forge(records(header, ram(huge - 4095n, 8192n)))],
    [
      'FIELDS that are too short',
      'ERR_STREAM_MALFORMED',
      forge(records(header, block, zero, { type: 4, data: new Uint8Array(20) })),
    ],
    [
      'FIELDS of 2^40',
      'ERR_STREAM_MALFORMED',
      forge(records(header, block, zero, { type: 4, length: 2n ** 40n })),
    ],
    [
      'an END of 15 bytes',
      'ERR_STREAM_MALFORMED',
      forge(records(header, block, zero, fields, { type: 5, data: new Uint8Array(15) })),
    ],
    ['no blocks at all', 'ERR_STREAM_COVERAGE', forge(records(header, fields))],
    ['a page that never comes', 'ERR_STREAM_COVERAGE', forge(records(header, block, fields))],
    ['one page twice and one never', 'ERR_STREAM_COVERAGE', forge(records(header, zero, zero, fields))],
    [
      'a boolean of 2',
      'ERR_STREAM_VALUE',
      forge(records(header, block, zero, { type: 4, data: new Uint8Array(21).fill(2) })),
    ],
    [
      'an END that counts too many bytes',
      'ERR_STREAM_TOTALS',
      forge(records(header, block, zero, fields, { type: 5, data: totals(1, 4) })),
    ],
    [
      'an END that counts too few records',
      'ERR_STREAM_TOTALS',
      forge(records(header, block, zero, fields, { type: 5, data: totals(Number(end?.at), 3) })),
    ],
    ['a byte after the END', 'ERR_STREAM_OVERRUN', Buffer.concat([save(sampleImage()), Buffer.of(0)])],
  ];

  it.each(cases)('with %s is refused: %s', (_, code, stream) => {
    const image = emptyImage();
    for (const sizes of [[stream.length], [1]]) {
      const error = errorOf(stream, image, sizes);
      expect(error?.code).toBe(code);
      expect(error?.message).toMatch(/\(at byte \d+ of the state\)$/);
    }
    if (code !== 'ERR_STREAM_OVERRUN') expect(image.loads).toEqual([]);
  });

  it('and whose lengths are enormous allocates nothing', () => {
    const hostile = [1, 2, 4, 5].map((type) =>
      forge(records(type === 1 ? undefined : header, { type, length: 2n ** 30n })),
    );
    const before = process.memoryUsage().arrayBuffers;
    for (let turn = 0; turn < 100; turn += 1) for (const stream of hostile) errorOf(stream);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(16 * 1024 * 1024);
  });
});

describe('a refusal by the device', () => {
  it('ends the session with the reason and its errno', () => {
    const image = emptyImage();
    image.refusal = new FerryError('ERR_SAMPLE', 'ticks must be even', { errno: Errno.ERANGE });
    const error = errorOf(save(sampleImage()), image);
    expect(error).toMatchObject({ code: 'ERR_STREAM_VALUE', errno: Errno.ERANGE, cause: image.refusal });
    expect(error?.message).toContain('ticks must be even');
  });

  it('is EINVAL when the device threw something of its own', () => {
    const image = emptyImage();
    image.refusal = new Error('no');
    expect(errorOf(save(sampleImage()), image)?.errno).toBe(Errno.EINVAL);
  });
});

describe('a device that contradicts itself', () => {
  it('gets no reader', () => {
    const image = new ModelImage([part({ version: 1, oldest: 2 })]);
    expect(() => new StateReader(image)).toThrow(expect.objectContaining({ code: 'ERR_STREAM_SCHEMA' }));
  });
});
