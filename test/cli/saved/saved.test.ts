import { randomFillSync } from 'node:crypto';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../../src/client/index.ts';
import { FERRY_LINE, lastJson, Shell } from '../ferry.ts';

const SLOW = 120_000;
const content = randomFillSync(new Uint8Array(1024 * 1024));
const PATIENT = ['--downtime-limit', '60000'];

let shell: Shell;
beforeEach(async () => {
  shell = new Shell();
  writeFileSync(shell.path('image'), content);
  await shell.serve('memory', 'a.sock', '--image', shell.path('image'));
  await shell.serve('memory', 'b.sock', '--size', '1M');
});
afterEach(async () => {
  await shell.close();
});

async function stateOf(socket: string): Promise<unknown> {
  return lastJson((await shell.run('state', shell.path(socket), '--json')).stdout)['state'];
}

async function hasContent(socket: string): Promise<boolean> {
  const vmm = await DeviceClient.connect(shell.path(socket));
  try {
    return Buffer.compare(await vmm.read(2, 0, content.length), content) === 0;
  } finally {
    vmm.close();
  }
}

describe('ferry save and ferry restore', () => {
  it(
    'carry a device in an encrypted file, which ferry show reads',
    async () => {
      writeFileSync(shell.path('key'), randomFillSync(new Uint8Array(32)));
      const key = ['--key-file', 'key'];
      const saved = await shell.run('save', 'a.sock', 'a.ferry', ...key, ...PATIENT);
      expect(saved.stdout).toMatch(/^Saved to a\.ferry: .*\n {2}running on, after a downtime of /);
      expect(saved.status).toBe(0);
      expect(await stateOf('a.sock')).toBe('RUNNING');
      expect(statSync(shell.path('a.ferry')).mode & 0o777).toBe(0o600);
      expect(readFileSync(shell.path('a.ferry')).includes('memory')).toBe(false);
      const shown = await shell.run('show', 'a.ferry', ...key, '--json');
      expect(lastJson(shown.stdout)).toMatchObject({
        devices: [{ name: shell.path('a.sock.control'), bytes: expect.any(Number) }],
      });
      expect((await shell.run('show', 'a.ferry')).stderr).toMatch(/is encrypted.*next: /s);
      const restored = await shell.run('restore', 'a.ferry', 'b.sock', ...key);
      expect(restored.stdout).toMatch(/b\.sock\.control is in RUNNING\n$/);
      expect([restored.status, await hasContent('b.sock')]).toEqual([0, true]);
    },
    SLOW,
  );

  it(
    'carry a device through a pipe, and leave the source stopped for good when told so',
    async () => {
      const line = `${FERRY_LINE} save a.sock - --leave stopped ${PATIENT.join(' ')} | ${FERRY_LINE} restore - b.sock`;
      const piped = await shell.sh(line);
      expect(piped.stderr).toContain('stopped for good');
      expect(piped.status).toBe(0);
      expect([await stateOf('a.sock'), await stateOf('b.sock')]).toEqual(['STOP', 'RUNNING']);
      expect(await hasContent('b.sock')).toBe(true);
      const back = await shell.run('state', 'a.sock', '--set', 'RUNNING');
      expect(back.status).toBe(1);
      expect(await stateOf('a.sock')).toBe('STOP');
    },
    SLOW,
  );

  it(
    'refuse what was changed, what is no such file, and a device that a VMM uses',
    async () => {
      expect((await shell.run('save', 'a.sock', 'a.ferry', ...PATIENT)).status).toBe(0);
      const bytes = readFileSync(shell.path('a.ferry'));
      const half = Math.floor(bytes.length / 2);
      bytes[half] = (bytes[half] ?? 0) ^ 1;
      writeFileSync(shell.path('changed.ferry'), bytes);
      for (const file of ['changed.ferry', 'image']) {
        expect((await shell.run('show', file)).status, file).toBe(1);
        expect((await shell.run('restore', file, 'b.sock')).status, file).toBe(1);
        expect(await shell.sh(`cat ${file} | ${FERRY_LINE} restore - b.sock`), file).toMatchObject({
          status: 1,
        });
      }
      expect([await stateOf('b.sock'), await hasContent('b.sock')]).toEqual(['RUNNING', false]);
      const vmm = await DeviceClient.connect(shell.path('b.sock'));
      const refused = await shell.run('restore', 'a.ferry', 'b.sock');
      expect(refused.stderr).toMatch(/a VMM is connected.*next: .*--force/s);
      const forced = await shell.run('restore', 'a.ferry', 'b.sock', '--force');
      expect(forced.status).toBe(0);
      expect(Buffer.compare(await vmm.read(2, 0, content.length), content)).toBe(0);
      vmm.close();
    },
    SLOW,
  );

  it(
    'are undone by SIGINT and by a full disk: the device runs on, and nothing is left of the file',
    async () => {
      const slow = shell.start(['save', 'a.sock', 'a.ferry', '--bandwidth', '100K', '--json', ...PATIENT]);
      await slow.sees('"phase":"pre-copy"');
      const stopped = await slow.kill('SIGINT');
      expect(lastJson(stopped.stdout)).toMatchObject({
        error: { code: 'ERR_MIGRATION_CANCELLED', owner: 'source' },
      });
      expect(stopped.status).toBe(1);
      const full = await shell.sh(`${FERRY_LINE} save a.sock - ${PATIENT.join(' ')} > /dev/full`);
      expect(full.stderr).toContain('ENOSPC');
      expect(full.status).toBe(1);
      expect(await stateOf('a.sock')).toBe('RUNNING');
      expect(readdirSync(shell.folder).filter((name) => name.includes('.ferry'))).toEqual([]);
    },
    SLOW,
  );
});
