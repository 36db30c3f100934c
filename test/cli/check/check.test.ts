import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FERRY, Shell } from '../ferry.ts';

const ferry = FERRY.map((part) => `'${part}'`).join(' ');
const EDU = `${ferry} serve edu --socket-path {socket} --no-control`;
/** A few rules of each kind: with and without a server of one's own, with two of them, with its process. */
const SOME = 'negotiation.reply,states.from-stop,move.accepted,leaks.connections';

/** What earlier or later servers of the suite have left in the folder for temporary files. */
const leftovers = (): string[] => readdirSync(tmpdir()).filter((name) => /^ferry-check-\w{6}$/.test(name));

describe('ferry check', { timeout: 180_000 }, () => {
  let shell: Shell;
  beforeEach(() => {
    shell = new Shell();
    // Other tests beside this one use the common folder for temporary files.
    vi.stubEnv('TMPDIR', shell.path('.'));
  });
  afterEach(() => {
    vi.unstubAllEnvs();
    return shell.close();
  });

  it('tries servers that it starts, ends them and removes what they leave', async () => {
    const before = leftovers();
    const { status, stdout, stderr } = await shell.run('check', '--spawn', EDU, '--only', SOME);
    expect(status, stdout + stderr).toBe(0);
    expect(stdout).toContain('PCI 1234:11e8, edu');
    expect(stdout).toMatch(/^ok {5}move\.accepted/m);
    expect(stdout).toContain('4 passed, 0 broken, 0 not applicable, 0 inconclusive');
    expect(leftovers().filter((name) => !before.includes(name))).toEqual([]);
  });

  it('only asks a running server, and leaves it as it was', async () => {
    const server = await shell.serve('edu', 'edu.sock');
    const { status, stdout } = await shell.run('check', shell.path('edu.sock'), '--only', SOME);
    expect(status, stdout).toBe(0);
    expect(stdout).toContain('1 passed, 0 broken, 3 not applicable, 0 inconclusive');
    expect(stdout).toContain('it needs instances of its own (--spawn)');
    expect((await server.kill('SIGTERM')).status).toBe(0);
  });

  it('drives the migration over a control socket where there is one', async () => {
    const command = `${ferry} serve edu --socket-path {socket} --control-path {control}`;
    const { status, stdout } = await shell.run(
      'check',
      '--spawn',
      command,
      '--only',
      'data.whole,move.content',
    );
    expect(status, stdout).toBe(0);
    expect(stdout).toContain('2 passed');
  });

  it('says what is broken, with the evidence and what the server said, and ends with status 1', async () => {
    const rude =
      "console.error('trouble'); require('net').createServer((s) => s.end()).listen(process.argv[1])";
    const listens = `'${process.execPath}' -e "${rude}" {socket}`;
    const report = shell.path('report.json');
    const args = ['--only', 'negotiation.reply', '--format', 'json', '--output', report];
    const { status, stdout } = await shell.run('check', '--spawn', listens, ...args);
    expect(status, stdout).toBe(1);
    expect(stdout).toContain('BROKEN negotiation.reply');
    const written: unknown = JSON.parse(readFileSync(report, 'utf8'));
    expect(written).toMatchObject({
      summary: { outcomes: { broken: 1 } },
      results: [{ finding: { what: 'it closed the connection instead of sending a reply to VERSION' } }],
    });
  });

  it('says why a server did not start', async () => {
    const { status, stderr } = await shell.run(
      'check',
      '--spawn',
      'echo no such thing >&2; exit 7; : {socket}',
    );
    expect(status).toBe(1);
    expect(stderr).toContain('status 7');
    expect(stderr).toContain('no such thing');
  });

  it('says that nobody listens', async () => {
    const { status, stderr } = await shell.run('check', shell.path('nobody.sock'), '--timeout', '100');
    expect(status).toBe(1);
    expect(stderr).toContain('ENOENT');
  });

  it('prints nothing but the report in a form for machines', async () => {
    const { status, stdout } = await shell.run(
      'check',
      '--spawn',
      EDU,
      '--only',
      'framing.echo',
      '--format',
      'tap',
    );
    expect(status).toBe(0);
    expect(stdout).toBe(
      'TAP version 14\n1..1\nok 1 - framing.echo: A reply has the id and the command of its message\n',
    );
  });

  it('ends its servers when it is interrupted', async () => {
    const before = leftovers();
    const running = shell.start(['check', '--spawn', EDU]);
    await running.sees('negotiation.reply');
    const { status, stderr } = await running.kill('SIGINT');
    expect(status).toBe(3);
    expect(stderr).toContain('interrupted');
    expect(leftovers().filter((name) => !before.includes(name))).toEqual([]);
  });

  it('lists the rules', async () => {
    const { status, stdout } = await shell.run(
      'check',
      '--list',
      '--only',
      'logging',
      '--severity',
      'should',
    );
    expect(status).toBe(0);
    expect(stdout.trim().split('\n')).toEqual([
      'logging',
      expect.stringMatching(/^ {2}logging\.start-refused +should +A log with .* \(needs spawn, logging\)$/),
    ]);
  });

  it.each([
    ['nothing to check', []],
    ['both a socket and a command', ['/tmp/a.sock', '--spawn', 'x {socket}']],
    ['a command without {socket}', ['--spawn', 'x']],
    ['a rule that is not there', ['/tmp/a.sock', '--only', 'no.such']],
    ['a severity that is not there', ['/tmp/a.sock', '--severity', 'fatal']],
  ])('refuses %s', async (_, args) => {
    const { status, stderr } = await shell.run('check', ...args);
    expect(status, stderr).toBe(2);
    expect(stderr).not.toBe('');
  });

  /** The processes that run with this in their command line. */
  const running = (text: string): number[] =>
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => pid !== process.pid && commandLineOf(pid).includes(text));

  /** The folders of servers that a test has left behind. */
  const leftBeside = (before: readonly string[]): string[] =>
    leftovers().filter((name) => !before.includes(name));

  /** A server that never answers: two processes that have the folder's name in their command line. */
  const mute = "require('net').createServer(() => console.error('asked')).listen(process.argv[1])";
  const idle = `'${process.execPath}' -e 'setInterval(() => {}, 1000)' {socket}`;
  const muteWithChild = `${idle} & '${process.execPath}' -e "${mute}" {socket}; wait`;

  it.each([
    ['with processes of its own', muteWithChild, 3],
    ['that the shell has made way for', `'${process.execPath}' -e "${mute}" {socket}`, 1],
  ])('leaves no server %s and no file behind when it is killed', async (_, command, processes) => {
    const before = leftovers();
    const args = ['--only', 'negotiation.reply', '--timeout', '60000'];
    const checking = shell.start(['check', '--spawn', command, ...args]);
    await vi.waitUntil(
      () => leftBeside(before).some((name) => running(`${name}/server.sock`).length >= processes),
      { timeout: 60_000 },
    );
    const [folder = ''] = leftBeside(before);
    expect((await checking.kill('SIGKILL')).signal).toBe('SIGKILL');
    await vi.waitUntil(() => running(`${folder}/server.sock`).length === 0, { timeout: 60_000 });
    await vi.waitUntil(() => leftBeside(before).length === 0, { timeout: 60_000 });
  });

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    'ends what it has started when %s comes a second time, and removes its files',
    async (signal) => {
      const before = leftovers();
      const args = ['--only', 'negotiation.reply', '--timeout', '60000'];
      const checking = shell.start(['check', '--spawn', muteWithChild, ...args]);
      const left = (): string[] => leftBeside(before);
      await vi.waitUntil(() => left().some((name) => running(`${name}/server.sock`).length >= 3), {
        timeout: 60_000,
      });
      const [folder = ''] = left();
      checking.process.kill(signal);
      await checking.sees('again ends it at once');
      expect((await checking.kill(signal)).signal).toBe(signal);
      await vi.waitUntil(() => running(`${folder}/server.sock`).length === 0, { timeout: 60_000 });
      expect(left()).toEqual([]);
    },
  );
});

function commandLineOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}
