import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { BEHAVIOURS, checkClient } from '../../../src/check/clients/index.ts';
import { renderReport } from '../../../src/check/index.ts';

const source = (name: string): string => fileURLToPath(new URL(`../../peers/${name}`, import.meta.url));
const has = (command: string): boolean => spawnSync(command, ['--version']).status === 0;
const PLAYED = [
  'well-behaved',
  'in-pieces',
  'asking',
  'busy',
  'other-major',
  'wrong-id',
  'short-info',
  'tiny-message',
  'leaves-at-5',
];

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-peers-'));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function check(command: string): Promise<void> {
  const report = await checkClient({
    socketPath: null,
    spawn: command,
    ...{ startMs: 20_000, limitMs: 1500, quietMs: 50 },
    behaviours: BEHAVIOURS.filter(({ name }) => PLAYED.includes(name)),
  });
  const broken = report.results.filter(({ outcome }) => outcome === 'broken').map(({ rule }) => rule.id);
  expect(broken, renderReport(report, 'people')).toEqual([]);
  expect(report.results.filter(({ outcome }) => outcome === 'passed').length).toBeGreaterThan(25);
}

it.skipIf(!has('cc'))('a client in C that shares no code with Ferry keeps the rules', async () => {
  const program = join(folder, 'client');
  execFileSync('cc', ['-std=gnu11', '-D_GNU_SOURCE', '-O1', '-o', program, source('client.c')]);
  await check(`${program} edu {socket}`);
});

it.skipIf(!has('python3'))('a client in Python that shares no code with Ferry keeps the rules', async () => {
  await check(`python3 ${source('client.py')} edu {socket}`);
});
