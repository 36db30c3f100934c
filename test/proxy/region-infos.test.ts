import { describe, expect, it } from 'vitest';
import { deviceGetRegionInfo, RegionInfoFlag } from '../../src/protocol/index.ts';
import { isMappable, noIoFds, wholeInfoRequest, withoutMapping } from '../../src/proxy/region-infos.ts';
import { fields } from '../helpers/raw-client.ts';

const { READ, WRITE, MMAP, CAPS } = RegionInfoFlag;
const sparse = { kind: 'sparse-mmap', areas: [{ offset: 0n, size: 4096n }] } as const;
const type = { kind: 'type', type: 3, subtype: 1 } as const;

function info(flags: number, capabilities: readonly (typeof sparse | typeof type)[]): Uint8Array {
  const value = { argsz: 0, flags, index: 2, size: 0x2000n, offset: 0n, capabilities: [...capabilities] };
  const { length } = deviceGetRegionInfo.reply.encode(value);
  return deviceGetRegionInfo.reply.encode({ ...value, argsz: length });
}

describe('a region that can be mapped', () => {
  it('loses that, and what says where', () => {
    const stripped = withoutMapping(info(READ | WRITE | MMAP | CAPS, [sparse]), 64);
    expect(Buffer.from(stripped)).toEqual(fields(32, READ | WRITE, 2, 0, 0x2000n, 0n));
    expect(isMappable(stripped)).toBe(false);
  });

  it('keeps its other capabilities, if the client has room for them', () => {
    const whole = info(READ | MMAP | CAPS, [type, sparse]);
    expect(deviceGetRegionInfo.reply.decode(withoutMapping(whole, 64))).toMatchObject({
      flags: READ | CAPS,
      capabilities: [type],
    });
    const short = Buffer.from(withoutMapping(whole, 32));
    expect(short).toHaveLength(32);
    expect(short.readUInt32LE(0), 'says how much room they need').toBeGreaterThan(32);
    expect(short.readUInt32LE(12)).toBe(0);
  });
});

it('asks a back end for everything, however little room the client has', () => {
  const request = deviceGetRegionInfo.request.decode(wholeInfoRequest(fields(32, 0, 2, 0, 0n, 0n)));
  expect(request).toMatchObject({ index: 2, argsz: 65_536 });
});

it('has no descriptors for parts of a region', () => {
  expect(Buffer.from(noIoFds(fields(512, 0, 2, 0)))).toEqual(fields(16, 0, 2, 0));
});
