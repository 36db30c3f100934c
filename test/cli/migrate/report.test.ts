import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Browser, CHROMIUM } from '../../helpers/chromium.ts';
import { lastJson, Shell } from '../ferry.ts';

const SLOW = 120_000;
const PATIENT = ['--downtime-limit', '60000'];
const EVIL = '<img src=x onerror=alert(1)>';

let shell: Shell;
beforeEach(() => {
  shell = new Shell();
});
afterEach(async () => {
  await shell.close();
});

const page = (name: string): string => readFileSync(shell.path(name), 'utf8');

async function servers(...names: readonly string[]): Promise<void> {
  for (const name of names) await shell.serve('memory', `${name}.sock`, '--size', '4M');
}

async function cancelled(source: string, destination: string, report: string): Promise<void> {
  const slowly = ['--max-bandwidth', '200K', ...PATIENT];
  const ends = [shell.path(source), shell.path(destination)];
  const running = shell.start(['migrate', ...ends, ...slowly, '--report', shell.path(report), '--json']);
  await running.sees('"phase":"pre-copy"');
  expect((await running.kill('SIGINT')).status).toBe(1);
}

async function fill(name: string): Promise<void> {
  const text = shell.path('noise');
  writeFileSync(text, Buffer.alloc(4 * 1024 * 1024, 'not all of it zero'));
  await shell.serve('memory', name, '--image', text);
}

describe(
  'the report of a migration',
  () => {
    it('tells the states of both sides, and what --json tells', async () => {
      await servers('a', 'b');
      const words = [
        shell.path('a.sock'),
        shell.path('b.sock'),
        '--report',
        shell.path('out.html'),
        '--json',
      ];
      const { status, stdout } = await shell.run('migrate', ...words, ...PATIENT);
      expect(status).toBe(0);
      const { timeline } = lastJson(stdout);
      expect(timeline).toMatchObject({
        side: 'source',
        rounds: [expect.anything()],
        assessments: expect.arrayContaining([expect.objectContaining({ downtimeLimitMs: 60_000 })]),
      });
      for (const word of ['Migration done', 'STOP_COPY', 'RESUMING', 'COMMIT', 'b.sock.control'])
        expect(page('out.html')).toContain(word);
      expect(readdirSync(shell.folder).filter((name) => name.includes('.part'))).toEqual([]);
    });

    it('is written by both sides', async () => {
      await servers('a', 'b');
      const way = `unix:${shell.path('way')}`;
      const receive = ['receive', shell.path('b.sock'), '--listen', way, '--report', shell.path('b.html')];
      const receiver = shell.start(receive);
      await receiver.sees('listening');
      const words = [shell.path('a.sock'), '--to', way, '--report', shell.path('a.html'), ...PATIENT];
      expect((await shell.run('migrate', ...words)).status).toBe(0);
      expect((await receiver.ended).status).toBe(0);
      expect(page('a.html')).toContain('heard READY');
      expect(page('b.html')).toContain('Reception done');
      expect(page('b.html')).toContain('heard COMMIT');
    });

    it('is written when it is cancelled, refused or impossible', async () => {
      await servers('b');
      await fill('a.sock');
      await cancelled('a.sock', 'b.sock', 'cancelled.html');
      for (const word of ['Migration cancelled', 'ERR_MIGRATION_CANCELLED', 'roll-back', 'ABORT'])
        expect(page('cancelled.html')).toContain(word);
      const report = ['--report', shell.path('out.html')];
      await shell.run('migrate', shell.path('a.sock'), `${shell.folder}/./a.sock`, ...report);
      expect(page('out.html')).toContain('Migration refused');
      await shell.run('migrate', shell.path('a.sock'), shell.path('none.sock'), ...report);
      expect(page('out.html')).toContain('ferry serve');
    });

    it('is refused before anything moves where it can not be written', async () => {
      await servers('a', 'b');
      const words = [
        shell.path('a.sock'),
        shell.path('b.sock'),
        '--report',
        shell.path('no/out.html'),
        '--json',
      ];
      const { status, stdout } = await shell.run('migrate', ...words);
      expect(status).toBe(1);
      expect(lastJson(stdout)).toMatchObject({ error: { code: 'ERR_REPORT' } });
      expect(lastJson((await shell.run('state', shell.path('a.sock'), '--json')).stdout)['state']).toBe(
        'RUNNING',
      );
      expect(existsSync(shell.path('no'))).toBe(false);
    });

    it('is written of what is saved and restored', async () => {
      await servers('a', 'b');
      const [file, report] = [shell.path('a.ferry'), shell.path('out.html')];
      expect((await shell.run('save', shell.path('a.sock'), file, '--report', report)).status).toBe(0);
      expect(page('out.html')).toContain('Saving done');
      expect((await shell.run('restore', file, shell.path('b.sock'), '--report', report)).status).toBe(0);
      expect(page('out.html')).toContain('Restoration done');
    });
  },
  SLOW,
);

/** What is seen of the charts: for each its name, how many shapes have a size, and how many explain themselves. */
const SEEN = `[...document.querySelectorAll('section svg')].map((svg) => ({
  id: svg.closest('section').id,
  shapes: [...svg.querySelectorAll('path,text')].filter((it) => { const { width, height } = it.getBoundingClientRect(); return width + height > 0; }).length,
  explained: svg.querySelectorAll('title').length,
  width: svg.getBoundingClientRect().width,
}))`;
const COLOURS = `[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('#states svg text')).fill]`;

describe.skipIf(CHROMIUM === null)(
  'the report in a browser (needs chromium)',
  () => {
    let browser: Browser;
    beforeEach(() => {
      browser = new Browser(CHROMIUM ?? '');
    });
    afterEach(async () => {
      await browser.close();
    });

    it('shows all charts, by day and by night, without a request or a script', async () => {
      await servers('b');
      await fill('a.sock');
      const words = [shell.path('a.sock'), shell.path('b.sock'), '--report', shell.path('out.html')];
      await shell.run('migrate', ...words, '--max-bandwidth', '8M', '--downtime-limit', '1000');
      const { requests, errors } = await browser.open(pathToFileURL(shell.path('out.html')).href);
      expect([requests.length, errors]).toEqual([1, []]);
      const seen = await browser.evaluate(SEEN);
      const drawn = (id: string, least: number) =>
        expect.objectContaining({
          id,
          width: expect.toSatisfy((it) => it > 500),
          shapes: expect.toSatisfy((it) => it >= least),
          explained: expect.toSatisfy((it) => it > 1),
        });
      expect(seen).toEqual([
        ...[drawn('states', 20), drawn('blackout', 20), drawn('downtime', 15)],
        ...[drawn('throughput', 100), drawn('convergence', 10)],
      ]);
      await browser.prefer('light');
      const light = await browser.evaluate(COLOURS);
      await browser.prefer('dark');
      expect(light).toEqual(['rgb(246, 247, 249)', 'rgb(28, 33, 40)']);
      expect(await browser.evaluate(COLOURS)).toEqual(['rgb(20, 23, 28)', 'rgb(230, 233, 238)']);
      expect(await browser.evaluate(`document.scripts.length`)).toBe(0);
    });

    it('shows names from elsewhere as text, and nothing that they say', async () => {
      mkdirSync(shell.path(EVIL));
      await servers(`${EVIL}/b`);
      await fill('a.sock');
      await cancelled('a.sock', `${EVIL}/b.sock`, 'out.html');
      const { requests, errors } = await browser.open(pathToFileURL(shell.path('out.html')).href);
      expect([requests.length, errors]).toEqual([1, []]);
      expect(await browser.evaluate(`document.querySelectorAll('img, script, iframe').length`)).toBe(0);
      expect(await browser.evaluate(`document.body.textContent`)).toContain(EVIL);
      expect(await browser.evaluate(`document.querySelector('.failure').innerText`)).toMatch(
        /ERR_MIGRATION_CANCELLED ECANCELED, in phase pre-copy.*the source/s,
      );
    });
  },
  SLOW,
);
