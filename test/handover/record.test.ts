import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FdTable } from '../../src/handover/fd-table.ts';
import { HandoverError } from '../../src/handover/handover-error.ts';
import type { HandoverRecord } from '../../src/handover/record.ts';
import { decodeRecord } from '../../src/handover/record-decoder.ts';
import { encodeRecord } from '../../src/handover/record-encoder.ts';
import { negotiate, OUR_CAPABILITIES } from '../../src/protocol/index.ts';

const { agreed } = negotiate({ major: 0, minor: 2, capabilities: OUR_CAPABILITIES }, OUR_CAPABILITIES);
const nothing = { bytes: new Uint8Array(0), fdSets: [] };
const allSent = { bytes: new Uint8Array(0), rest: 0, fdMarks: [] };

/** A record with one of everything; fds are numbers of no process. */
const FULL: HandoverRecord = {
  listeners: [
    { role: 'main', fd: 100, path: '/run/a.sock' },
    { role: 'control', fd: 101, path: null },
  ],
  server: {
    connections: [
      {
        ...{ role: 'main', fd: 102, agreed, late: false, aborted: false },
        link: {
          unread: { bytes: Uint8Array.of(1, 2, 3, 4), fdSets: [{ at: 2, fds: [103, 104] }] },
          unsent: { bytes: new Uint8Array(40), rest: 3, fdMarks: [{ at: 3, end: 40, fds: [105] }] },
          ids: { last: 77, abandoned: [5, 6] },
        },
        twin: { fd: 106, link: { unread: nothing, unsent: allSent, ids: { last: 0, abandoned: [] } } },
      },
      {
        ...{ role: 'control', fd: 107, agreed: null, late: true, aborted: true, twin: null },
        link: { unread: nothing, unsent: allSent, ids: { last: 0, abandoned: [] } },
      },
    ],
    maps: [
      { iova: 0n, size: 4096n, offset: 0n, flags: { read: true, write: true, mode: 'mmap' }, fd: 108 },
      {
        iova: 4096n,
        size: 1n << 40n,
        offset: 0n,
        flags: { read: true, write: false, mode: 'message' },
        fd: null,
      },
    ],
    interrupts: [
      {
        ...{ index: 2, enabled: true, eventfds: [109, null] },
        masked: Uint8Array.of(0, 1),
        pending: Uint8Array.of(1, 0),
      },
    ],
    doorbells: [
      {
        ...{ region: 0, shadow: 110 },
        bells: [
          { offset: 4, size: 4, datamatch: 0x77n, shadow: false, eventfd: 111 },
          { offset: 8, size: 2, datamatch: null, shadow: true, eventfd: 112 },
        ],
      },
    ],
    instance: (1n << 64n) - 3n,
    resets: 9,
    claims: { highest: 4n, over: [['00112233445566778899aabbccddeeff', 3n]] },
    onReconnect: 'keep',
    device: {
      blocks: [{ name: 'ram', size: 65536, fd: 113, exposed: true }],
      timers: [{ ms: 10, leftMs: 2.5 }],
      possessions: { data: Uint8Array.of(9, 8), fds: [114] },
    },
  },
};

const noDup = { dup: () => 999, close: () => 0 };

function roundTrip(record: HandoverRecord): HandoverRecord {
  const { bytes, fds } = encodeRecord(record);
  return decodeRecord(bytes, new FdTable(noDup, fds));
}

describe('a record', () => {
  it('is read as it was written', () => {
    expect(roundTrip(FULL)).toEqual(FULL);
  });

  it('names a descriptor once that several maps have', () => {
    const [map] = FULL.server.maps;
    if (map === undefined) throw new Error('no map');
    const twice = { ...FULL, server: { ...FULL.server, maps: [map, { ...map, iova: 1n << 30n }] } };
    expect(encodeRecord(twice).fds).toHaveLength(encodeRecord(FULL).fds.length);
    expect(roundTrip(twice).server.maps.map(({ fd }) => fd)).toEqual([108, 999]);
  });

  it('is refused wherever it ends too early', () => {
    const { bytes, fds } = encodeRecord(FULL);
    for (let length = 0; length < bytes.length; length += 1) {
      expect(() => decodeRecord(bytes.slice(0, length), new FdTable(noDup, fds)), `${length} bytes`).toThrow(
        HandoverError,
      );
    }
  });

  it('is refused with bytes or descriptors too many, or too few descriptors', () => {
    const { bytes, fds } = encodeRecord(FULL);
    const read = (some: Uint8Array, with_: readonly number[]) => () =>
      decodeRecord(some, new FdTable(noDup, with_));
    expect(read(Buffer.concat([bytes, Uint8Array.of(0)]), fds)).toThrow(/1 bytes too many/);
    expect(read(bytes, [...fds, 7])).toThrow(/does not name/);
    expect(read(bytes, fds.slice(0, -1))).toThrow(/names fd/);
  });

  it('does nothing but be refused, or be read, whatever its bytes are', () => {
    const { bytes, fds } = encodeRecord(FULL);
    const change = fc.record({ at: fc.nat(bytes.length - 1), value: fc.nat(255) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 8 }), (changes) => {
        const damaged = Uint8Array.from(bytes);
        for (const { at, value } of changes) damaged[at] = value;
        try {
          decodeRecord(damaged, new FdTable(noDup, fds));
        } catch (error) {
          expect(error).toBeInstanceOf(HandoverError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
