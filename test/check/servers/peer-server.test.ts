import { describe, expect, it } from 'vitest';
import { checkServer, renderPeople, spawnedServers } from '../../../src/check/index.ts';

/** A server of libvfio-user, such as `gpio-pci-idio-16 {socket}`. */
const { FERRY_PEER_SERVER: PEER } = process.env;

/** Defects of libvfio-user that every server of it shows to a client, as its issues and others' measurements tell them. */
const KNOWN = [
  'negotiation.subset',
  'negotiation.impossible-limits',
  'negotiation.fds',
  'framing.split-header',
  'framing.split-body',
  'framing.long-body',
  'region.count-0',
  'dma.map-existing',
  'dma.map-wraps',
  'feature.unknown-errno',
  'feature.set-cut-off',
  'logging.any-range',
  'logging.no-fd',
  'logging.cut-off',
  'reset.in-resuming',
];

describe.skipIf(PEER === undefined)('a server of libvfio-user (needs FERRY_PEER_SERVER)', () => {
  it('is found to have its known defects', { timeout: 300_000 }, async () => {
    const launcher = spawnedServers({ command: PEER ?? '', startMs: 10_000 });
    const report = await checkServer({ launcher, timeoutMs: 2000, selection: { only: KNOWN } });
    const missed = report.results.filter(({ outcome }) => outcome !== 'broken').map(({ rule }) => rule.id);
    expect(missed, renderPeople(report)).toEqual([]);
  });
});
