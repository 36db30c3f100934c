import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BEHAVIOURS, CLIENT_RULES, checkClient } from '../../../src/check/clients/index.ts';
import { bySeverity, type Report } from '../../../src/check/index.ts';
import { openFds } from '../../helpers/open-fds.ts';
import { PlantedClient } from './planted-client.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-clients-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Where a mistake shows, if not towards a server that does everything as it should. */
const SHOWS_TOWARDS = new Map<string, readonly string[]>([
  ['negotiation.refused', ['refuses-version']],
  ['negotiation.disagreement', ['other-major']],
  ['header.fds', ['tight']],
  ['region.limit', ['tight']],
  ['dma.answers', ['asking']],
  ['dma.unmap-refused', ['refuses-dma-map']],
  ['migration.recovery', ['well-behaved', 'left-in-stop-copy']],
  ['reaction.wrong-id', ['wrong-id']],
  ['reaction.short-reply', ['short-info']],
  ['reaction.endless', ['endless-regions']],
  ['reaction.leaves', ['busy']],
]);

/** Rules about processes, or about what this client can not do: they have tests of their own. */
const ELSEWHERE = ['reaction.no-crash', 'reaction.no-storm', 'reaction.broken-stream'];

/** Plays to a client with a fault, or to one without. */
async function check(fault: string | null, names: readonly string[]): Promise<Report> {
  const clients: Promise<void>[] = [];
  const report = await checkClient({
    socketPath: join(folder, 'a.sock'),
    spawn: null,
    startMs: 2000,
    // Only who never leaves is played to for so long.
    limitMs: fault === 'reaction.leaves' ? 1500 : 10_000,
    quietMs: 20,
    behaviours: BEHAVIOURS.filter(({ name }) => names.includes(name)),
    onPlay: (_, path) => clients.push(new PlantedClient(path, fault).play()),
  });
  await Promise.all(clients);
  return report;
}

const broken = ({ results }: Report): string[] =>
  bySeverity(results)
    .filter(({ outcome }) => outcome === 'broken')
    .map(({ rule }) => rule.id);

describe('the rules for clients', () => {
  it('are kept by a client without faults, whatever the server does', { timeout: 60_000 }, async () => {
    const names = BEHAVIOURS.map(({ name }) => name);
    const before = openFds();
    const report = await check(null, names);
    expect(broken(report)).toEqual([]);
    const missed = report.results.filter(({ outcome }) => outcome !== 'passed').map(({ rule }) => rule.id);
    expect(missed).toEqual(['reaction.no-crash']);
    expect(openFds()).toEqual(before);
  });

  const planted = CLIENT_RULES.map(({ id }) => id).filter((id) => !ELSEWHERE.includes(id));
  it.each(planted)('find exactly the mistake: %s', async (id) => {
    const report = await check(id, SHOWS_TOWARDS.get(id) ?? ['well-behaved']);
    expect(broken(report)).toEqual([id]);
    const [result] = report.results.filter(({ rule }) => rule.id === id);
    expect(result?.finding?.what).toBeTruthy();
    expect(result?.finding?.exchange.length).toBeGreaterThan(0);
  });
});
