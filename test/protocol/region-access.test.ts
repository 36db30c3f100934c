import { Session } from 'node:inspector';
import { describe, expect, it } from 'vitest';
import {
  echoRegionAccess,
  HEADER_SIZE,
  littleEndian,
  RegionAccess,
  readU64AsNumber,
  regionRead,
  regionWrite,
  regionWriteMulti,
} from '../../src/protocol/index.ts';
import { at, hex, refused, toHex } from './support.ts';

const HEAD = '3000000000000000 07000000 03000000';
const head = { offset: 0x30n, region: 7, count: 3 };

describe('REGION_READ and REGION_WRITE', () => {
  it('are offset, region, count, then the data', () => {
    for (const part of [regionRead.request, regionWrite.reply]) {
      expect(part.decode(hex(HEAD))).toEqual(head);
      expect(toHex(part.encode(head))).toBe(toHex(hex(HEAD)));
    }
    for (const part of [regionRead.reply, regionWrite.request]) {
      expect(part.decode(hex(`${HEAD} aabbcc`))).toEqual({ ...head, data: hex('aabbcc') });
      expect(toHex(part.encode({ offset: 0x30n, region: 7, data: hex('aabbcc') }))).toBe(
        toHex(hex(`${HEAD} aabbcc`)),
      );
    }
  });

  it('may be of 0 bytes, with the fixed part in the reply', () => {
    expect(regionRead.reply.encode({ offset: 0n, region: 0, data: hex('') })).toHaveLength(16);
  });

  it.each([
    ['a short request', () => regionRead.request.decode(hex(HEAD).subarray(0, 15)), 'count', 12],
    ['bytes after a read', () => regionRead.request.decode(hex(`${HEAD} 00`)), 'payload', 16],
    ['data shorter than count', () => regionWrite.request.decode(hex(`${HEAD} aabb`)), 'data', 16],
    ['data longer than count', () => regionWrite.request.decode(hex(`${HEAD} aabbccdd`)), 'payload', 19],
    [
      'an access past 2^64',
      () => regionRead.request.decode(hex('ffffffffffffffff 07000000 02000000')),
      'offset',
      0,
    ],
  ])('refuse %s', (_, action, field, byte) => {
    expect(refused(action)).toEqual(at('EINVAL', field, byte));
  });
});

describe('in place', () => {
  const AT = RegionAccess.at;
  const request = new DataView(hex(`${'00'.repeat(16)} ${HEAD}`).buffer);
  const reply = new DataView(new ArrayBuffer(64));

  it('repeats the fixed part in the reply and touches nothing else', () => {
    echoRegionAccess(request, 16, reply, 16);
    expect(toHex(new Uint8Array(reply.buffer))).toBe(
      `${'00'.repeat(16)}${toHex(hex(HEAD))}${'00'.repeat(32)}`,
    );
  });

  it('reads a request and writes the reply without allocating', async () => {
    const serve = (rounds: number): number => {
      let sum = 0;
      for (let i = 0; i < rounds; i += 1) {
        const offset = readU64AsNumber(request, HEADER_SIZE + AT.offset);
        const region = request.getUint32(HEADER_SIZE + AT.region, littleEndian);
        sum += offset + region + request.getUint32(HEADER_SIZE + AT.count, littleEndian);
        echoRegionAccess(request, 16, reply, 16);
      }
      return sum;
    };
    serve(200_000);
    const rounds = 2_000_000;
    expect(serve(1)).toBe(0x30 + 7 + 3);
    // One object of 16 bytes per round would be 32 MB.
    expect(await allocatedDuring(() => serve(rounds))).toBeLessThan(rounds);
  });
});

/** Bytes allocated on the heap while `action` runs, as V8's sampling profiler estimates them. */
async function allocatedDuring(action: () => unknown): Promise<number> {
  const session = new Session();
  session.connect();
  const post = (method: string, params: object = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      session.post(method, params, (error, result) => (error === null ? resolve(result) : reject(error)));
    });
  const options = { includeObjectsCollectedByMajorGC: true, includeObjectsCollectedByMinorGC: true };
  await post('HeapProfiler.startSampling', { samplingInterval: 4096, ...options });
  action();
  const result = await post('HeapProfiler.stopSampling');
  session.disconnect();
  return (
    JSON.stringify(result)
      .match(/"size":(\d+)/g)
      ?.reduce((sum, one) => sum + Number(one.slice(7)), 0) ?? 0
  );
}

describe('REGION_WRITE_MULTI', () => {
  const MULTI =
    '0200000000000000 | 1000000000000000 02000000 04000000 0403020100000000 | 2000000000000000 02000000 08000000 0807060504030201';
  const wrs = [
    { offset: 16n, region: 2, count: 4, data: 0x0102_0304n },
    { offset: 32n, region: 2, count: 8, data: 0x0102_0304_0506_0708n },
  ];

  it('is a count and 24 bytes per write; the reply is the count', () => {
    expect(regionWriteMulti.request.decode(hex(MULTI))).toEqual({ wrCnt: 2n, wrs });
    expect(toHex(regionWriteMulti.request.encode({ wrs }))).toBe(toHex(hex(MULTI)));
    expect(toHex(regionWriteMulti.reply.encode({ wrCnt: 2n }))).toBe('0200000000000000');
  });

  it.each([
    ['fewer writes than the count', MULTI.replace('02', '03'), 'wrs[3]', 8],
    ['more writes than the count', MULTI.replace('02', '01'), 'payload', 32],
    ['a count without end', MULTI.replace('0200000000000000', 'ffffffffffffffff'), 'wrs[Infinity]', 8],
    ['a write of 9 bytes', MULTI.replace('04000000', '09000000'), 'wrs', 0],
  ])('refuses %s', (_, bytes, field, byte) => {
    expect(refused(() => regionWriteMulti.request.decode(hex(bytes)))).toEqual(at('EINVAL', field, byte));
  });
});
