import { describe, expect, it } from 'vitest';
import { errnoName } from '../../src/errors/index.ts';
import {
  deviceFeature,
  FEATURE_MASK,
  Feature,
  featureName,
  featureOf,
  featureOperation,
} from '../../src/protocol/index.ts';
import { at, hex, refusal, refused, toHex } from './support.ts';

const GET = 0x1_0000;
const SET = 0x2_0000;
const PROBE = 0x4_0000;

/** What the kernel's order of checks gives for a request with these flags, in a device that has all features. */
function outcome(flags: number, argsz = 0xffff): string {
  try {
    deviceFeature.request.check({ argsz, flags, data: hex('') });
    return featureOperation({ argsz, flags }, featureOf(flags & FEATURE_MASK));
  } catch (error) {
    return errnoName(
      refusal(() => {
        throw error;
      }).errno,
    );
  }
}

it('is argsz, flags, data', () => {
  const bytes = '10000000 02000200 06000000 ffffffff';
  const value = { argsz: 16, flags: SET | 2, data: hex('06000000 ffffffff') };
  expect(deviceFeature.request.decode(hex(bytes))).toEqual(value);
  expect(toHex(deviceFeature.request.encode(value))).toBe(toHex(hex(bytes)));
});

it.each([
  ['argsz below 8', '07000000 02000100', 'argsz', 0],
  ['an unknown bit', '10000000 02000900', 'flags', 4],
  ['the highest bit', '10000000 02000180', 'flags', 4],
  ['GET and SET without PROBE', '10000000 02000300', 'flags', 4],
  ['a short request', '10000000', 'flags', 4],
])('refuses %s', (_, bytes, field, byte) => {
  expect(refused(() => deviceFeature.request.decode(hex(bytes)))).toEqual(at('EINVAL', field, byte));
});

describe('what a request asks for', () => {
  const none = 0;
  // PROBE rows: as recorded from Linux 7.2.12, driver mtty, for features 0 to 14 (those on a socket are 1, 2, 6 to 9).
  it.each([
    [Feature.MIGRATION, 'probe', 'EINVAL', 'EINVAL', 'get', 'EINVAL'],
    [Feature.MIG_DEVICE_STATE, 'probe', 'probe', 'probe', 'get', 'set'],
    [Feature.DMA_LOGGING_START, 'EINVAL', 'probe', 'EINVAL', 'EINVAL', 'set'],
    [Feature.DMA_LOGGING_STOP, 'EINVAL', 'probe', 'EINVAL', 'EINVAL', 'set'],
    [Feature.DMA_LOGGING_REPORT, 'probe', 'EINVAL', 'EINVAL', 'get', 'EINVAL'],
    [Feature.MIG_DATA_SIZE, 'probe', 'EINVAL', 'EINVAL', 'get', 'EINVAL'],
    [0, 'ENOTTY', 'ENOTTY', 'ENOTTY', 'ENOTTY', 'ENOTTY'],
    [12, 'ENOTTY', 'ENOTTY', 'ENOTTY', 'ENOTTY', 'ENOTTY'],
    [0xffff, 'ENOTTY', 'ENOTTY', 'ENOTTY', 'ENOTTY', 'ENOTTY'],
  ])('of feature %s', (feature, probeGet, probeSet, probeBoth, get, set) => {
    const wanted = [PROBE | GET, PROBE | SET, PROBE | GET | SET, GET, SET].map((bits) =>
      outcome(feature | bits),
    );
    expect(wanted).toEqual([probeGet, probeSet, probeBoth, get, set]);
  });

  it('is refused with EINVAL for both methods or none, and PROBE alone succeeds', () => {
    expect(outcome(1 | GET | SET)).toBe('EINVAL');
    expect(outcome(1 | none)).toBe('EINVAL');
    expect(outcome(1 | GET | 0x8_0000)).toBe('EINVAL');
    expect(outcome(1 | PROBE)).toBe('probe');
    expect(outcome(99 | none)).toBe('ENOTTY');
  });

  it.each([
    [Feature.MIGRATION, GET, 16],
    [Feature.MIG_DEVICE_STATE, GET, 16],
    [Feature.MIG_DEVICE_STATE, SET, 16],
    [Feature.DMA_LOGGING_START, SET, 24],
    [Feature.DMA_LOGGING_STOP, SET, 8],
    [Feature.DMA_LOGGING_REPORT, GET, 32],
    [Feature.MIG_DATA_SIZE, GET, 16],
  ])('of feature %s, method 0x%s, needs argsz %s, but not to probe', (feature, method, argsz) => {
    expect(outcome(feature | method, argsz)).toMatch(/^[gs]et$/);
    expect(outcome(feature | method, argsz - 1)).toBe('EINVAL');
    expect(outcome(feature | method | PROBE, 8)).toBe('probe');
  });

  it('is refused as unsupported when the device lacks the feature', () => {
    const error = refusal(() => featureOperation({ argsz: 16, flags: GET | 1 }, undefined));
    expect(error.code).toBe('ERR_PROTOCOL_UNSUPPORTED');
    expect(error.message).toContain('MIGRATION');
  });
});

it('names features', () => {
  expect([1, 9, 3].map(featureName)).toEqual(['MIGRATION', 'MIG_DATA_SIZE', 'feature 3']);
});
