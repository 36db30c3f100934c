import { describe, expect, it } from 'vitest';
import { type Manifest, manifestFromJson, manifestToJson } from '../../../src/engine/preflight/manifest.ts';
import { compareManifests } from '../../../src/engine/preflight/preflight.ts';
import { MigrationState } from '../../../src/states/index.ts';

/** A side with one device. */
function side(largestPiece?: number): Manifest {
  const device = {
    ...{
      name: 'a',
      flags: 5,
      state: MigrationState.RUNNING,
      identity: { kind: 'a' },
      busy: null,
      backEnds: [],
    },
    ...{ instance: '0'.repeat(16), configuration: null, claims: true },
    ...(largestPiece === undefined ? {} : { largestPiece }),
  };
  return { devices: [device], memory: [], paused: false, force: false };
}

describe('the longest piece', () => {
  it.each([
    [100, 100, []],
    [100, 101, []],
    [101, 100, ['the destination takes pieces of 100 bytes, and those of the source have up to 101']],
    [undefined, 100, []],
    [100, undefined, []],
  ])('of a source, %o, has to fit into what the destination takes, %o', (here, there, reasons) => {
    expect(compareManifests(side(here), side(there)).reasons).toEqual(reasons);
  });

  it.each([undefined, 0, 4096])('travels with what a side tells of itself: %o', (largestPiece) => {
    expect(manifestFromJson(manifestToJson(side(largestPiece)))).toEqual(side(largestPiece));
  });

  it.each([-1, 1.5, 'much', null])('that is no size is not believed: %o', (largestPiece) => {
    const [device] = side().devices;
    const told = {
      ...manifestFieldsOf(side()),
      devices: [{ ...device, identity: { kind: 'a' }, backEnds: [], largestPiece }],
    };
    expect(manifestFromJson(told)).toBe(null);
  });
});

function manifestFieldsOf({ paused, force }: Manifest) {
  return { memory: [], paused, force };
}
