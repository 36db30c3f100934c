import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../src/client/index.ts';
import { Shell } from '../cli/ferry.ts';
import { shownInGuest, shownOnHost, textOf } from './guide.ts';

const EXAMPLE = resolve(import.meta.dirname, '../../examples/egg-timer.ts');
const CLOCK = resolve(import.meta.dirname, '../../examples/egg-clock.js');
const GUIDE = textOf('docs/write-a-device.md');

/** JavaScript, so without types of its own. */
const {
  fillListings,
  regionsOf,
}: {
  fillListings(guide: string, read: (path: string) => string): string;
  regionsOf(source: string): string[];
} = await import(new URL('../../scripts/listings.js', import.meta.url).href);

describe('the listings of docs/write-a-device.md', () => {
  it('are what the examples have', () => {
    expect(GUIDE, 'run: npm run docs').toBe(fillListings(GUIDE, textOf));
  });

  it('show the whole example, piece by piece, in its order', () => {
    const source = textOf('examples/egg-timer.ts');
    const shown = [...GUIDE.matchAll(/<!-- examples\/egg-timer\.ts: (\w+) -->/g)].map(
      ([, name = '']) => name,
    );
    expect(shown).toEqual(regionsOf(source));
    const pieces = [...GUIDE.matchAll(/-->\n```ts\n(.*?)```\n/gs)].map(([, piece = '']) => piece);
    const squeeze = (text: string): string => text.replaceAll(/\s+/g, ' ').trim();
    const code = source.replaceAll(/^\s*\/\/.*\n/gm, '');
    expect(squeeze(`${pieces.join('')}}`)).toBe(squeeze(code));
  });

  it('follow a change of the example', () => {
    const changed = fillListings(GUIDE, (path) => textOf(path).replaceAll('tenths', 'seconds'));
    expect(changed).toContain('write: (seconds) => this.#wind(seconds)');
  });

  it('can not name what is not there', () => {
    const guide = '<!-- examples/a.ts: none -->\n```ts\n```\n';
    expect(() => fillListings(guide, () => '')).toThrow('no region none');
    expect(() => fillListings(guide, () => '// #region none\n')).toThrow('does not end');
  });
});

describe('the example of docs/write-a-device.md', () => {
  let shell: Shell;
  beforeEach(() => {
    shell = new Shell();
  });
  afterEach(() => shell.close());

  const clock = (socket: string, ...words: readonly string[]): string =>
    execFileSync(process.execPath, [CLOCK, shell.path(socket), ...words], {
      encoding: 'utf8',
      timeout: 60_000,
    });

  it('is shown by ferry inspect as the guide says', async () => {
    await shell.serve(EXAMPLE, 'a.sock');
    const { stdout } = await shell.run('inspect', shell.path('a.sock'));
    expect(stdout.trimEnd()).toBe(shownOnHost('npx ferry inspect /tmp/a.sock'));
  });

  it('goes on counting where it is moved to, and rings there, once', async () => {
    // The one that it is wound up at is so slow that no machine lets it ring there.
    await shell.serve(EXAMPLE, 'a.sock', '--option', 'tick=1000');
    await shell.serve(EXAMPLE, 'b.sock', '--option', 'tick=10');
    expect(clock('a.sock', '200')).toMatch(/^left \d+, rings 0\n$/);
    const moved = await shell.run('migrate', shell.path('a.sock'), shell.path('b.sock'));
    expect(moved).toMatchObject({ status: 0 });
    const client = await DeviceClient.connect(shell.path('b.sock'));
    try {
      while ((await client.readU32(0, 8)) === 0) await new Promise((resolve) => setTimeout(resolve, 20));
      expect([await client.readU32(0, 0), await client.readU32(0, 4), await client.readU32(0, 8)]).toEqual([
        0, 1, 1,
      ]);
      await client.writeU32(0, 4, 0);
      expect(await client.readU32(0, 4)).toBe(0);
    } finally {
      client.close();
    }
  });

  it('has commands for a guest, which the guest tests run', () => {
    expect(shownInGuest().map(({ command }) => command)).toContain('modprobe uio_pci_generic');
  });
});
