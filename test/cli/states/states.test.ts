import { closeSync, openSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { run } from '../../../src/cli/run.ts';
import { RULE_SETS } from '../../../src/states/index.ts';
import { lastJson, Shell } from '../ferry.ts';

let shell: Shell;

beforeAll(() => {
  shell = new Shell();
});
afterAll(() => shell.close());

const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));

/** Runs `ferry states` in this process. */
async function states(...args: readonly string[]) {
  const text = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((piece) => {
      text[name] += String(piece);
      return true;
    }),
  );
  try {
    const status = await run(['node', 'ferry', 'states', ...args]);
    return { ...text, status };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** Writes a log and checks it. */
function check(log: string, ...options: readonly string[]) {
  writeFileSync(shell.path('log'), log);
  return states('check', shell.path('log'), ...options);
}

describe('ferry states', () => {
  it('shows the v2 machine as a table, with what each step is', async () => {
    const { status, stdout } = await states();
    expect(status).toBe(0);
    const lines = stdout.split('\n');
    expect(lines).toContain(
      'PRE_COPY      -      3     1        2          4         2            .         1',
    );
    expect(lines).toContain('RUNNING -> PRE_COPY: a data session opens');
    expect(lines).toContain('     driver: freeze, serialize');
  });

  it('shows any other rules, and v2 with other flags', async () => {
    expect((await states('v1-libvfio-user')).stdout).toContain(
      'libvfio-user until September 2023, as deployed\n',
    );
    expect((await states('--flags', '1')).stdout).toMatch(/^v2 with STOP_COPY\n/);
    expect((await states('v2', '--flags', 'PRE-COPY')).stdout).toMatch(/^v2 with STOP_COPY, PRE_COPY\n/);
  });

  it('draws them', async () => {
    const svg = await shell.run('states', 'v2', '--flags', 'p2p', '--format', 'svg');
    expect(svg.stdout).toMatch(/<svg [\s\S]*<title>RUNNING_P2P<\/title>[\s\S]*<\/svg>\n$/);
    const dot = await states('--format', 'dot');
    expect(dot.stdout).toContain('  "RUNNING" -> "PRE_COPY" [label="opens session"];\n');
    const mermaid = await states('v1-uapi', '--format', 'mermaid');
    expect(mermaid.stdout).toMatch(/^stateDiagram-v2\n {4}\[\*\] --> RUNNING\n/);
  });

  it('prints JSON with every change', async () => {
    const { stdout } = await states('v1-2021-09', '--json');
    const { id, states: all, changes } = lastJson(stdout);
    expect(id).toBe('v1-2021-09');
    expect(all).toHaveLength(8);
    expect(changes).toHaveLength(36);
    expect(changes).toContainEqual(
      expect.objectContaining({ from: 'PRE_COPY', to: 'STOP_COPY', verdict: 'allowed', path: ['STOP_COPY'] }),
    );
  });

  it.each([
    [['v3'], /there are no rules 'v3'; there are v2, v1-2019, /],
    [['--flags', '2'], /Write stop_copy, p2p, pre_copy, or 1, 3, 5, 7/],
    [['v1-uapi', '--flags', 'p2p'], /--flags goes with the rules v2/],
    [['--format', 'png'], /Allowed choices are table, svg, dot, mermaid/],
    [['path', 'RUNNING'], /missing required argument 'to'/],
    [['path', 'RUNNING', 'FLYING'], /there is no state 'FLYING' in v2-7; there are ERROR, /],
    [['path', 'RUNNING', 'PRE_COPY', '--flags', 'p2p'], /there is no state 'PRE_COPY' in v2-3/],
    [['compare', '--rules', 'v2-7,v9'], /there are no rules 'v9'/],
    [['compare', '--flags', 'p2p'], /--flags goes with the rules v2, which are not in v1-uapi,/],
    [['check'], /missing required argument 'log'/],
    [['check', '-', '--numbers', 'v3'], /Allowed choices are v1, v2/],
  ])('%j is a wrong command line', async (args, message) => {
    const { status, stderr } = await states(...args);
    expect(stderr).toMatch(message);
    expect(status).toBe(2);
  });
});

it.each([[], ['path'], ['compare'], ['check']])(
  'ferry states %s --help has examples and all rules',
  async (...words) => {
    const { status, stdout } = await states(...words, '--help');
    expect(status).toBe(0);
    expect(stdout).toContain('Examples:\n  ');
    for (const { id, title } of RULE_SETS) expect(stdout).toContain(`\n  ${id.padEnd(18)} ${title}\n`);
  },
);

describe('ferry states path', () => {
  it('explains each arc, what the device must do on it, and the data session', async () => {
    const { status, stdout } = await states('path', 'RUNNING', 'STOP_COPY', '--flags', 'p2p,precopy');
    expect(stdout).toBe(`v2 with STOP_COPY, P2P, PRE_COPY
RUNNING to STOP_COPY: allowed, 3 steps
  1. RUNNING -> RUNNING_P2P
     Stop starting peer-to-peer DMA and complete what is outstanding.
     driver: quiesce
  2. RUNNING_P2P -> STOP
     Stop: no DMA, no interrupts, no change of internal state. Configuration space and MSI-X are still answered.
     driver: freeze
  3. STOP -> STOP_COPY: a data session opens
     Open a saving session; the internal state stays frozen while it is read.
     driver: serialize
`);
    expect(status).toBe(0);
  });

  it('ends with 1 where the change is refused, and says why', async () => {
    const { status, stdout } = await shell.run('states', 'path', 'stop-copy', 'pre-copy');
    expect(stdout).toContain('STOP_COPY to PRE_COPY: refused: a new saving session begins in ');
    expect(status).toBe(1);
  });

  it('takes bits of v1, and tells where the published algorithms differ', async () => {
    const { status, stdout } = await states('path', '100', '011', '--rules', 'v1-2021-12');
    expect(stdout).toContain('RESUMING (100) to PRE_COPY (011): allowed, 3 steps\n');
    expect(stdout).toContain('clear-then-set goes 100 -> 000 -> 010 -> 011 and serializes on the way');
    expect(status).toBe(0);
  });

  it('does not refuse what is only not listed', async () => {
    const { status, stdout } = await states('path', '010', '001', '--rules', 'v1-uapi');
    expect(stdout).toContain(': unlisted: it is not on the list, which is open\n');
    expect(status).toBe(0);
  });

  it('prints JSON, also of a refusal', async () => {
    const allowed = await states('path', 'PRE_COPY', 'STOP_COPY', '--flags', 'precopy', '--json');
    expect(lastJson(allowed.stdout)).toMatchObject({
      rules: 'v2-5',
      verdict: 'allowed',
      path: ['STOP_COPY'],
      steps: [{ from: 'PRE_COPY', to: 'STOP_COPY', actions: ['quiesce', 'freeze', 'serialize'] }],
    });
    const refused = await states('path', 'ERROR', 'RUNNING', '--json');
    expect(lastJson(refused.stdout)).toMatchObject({
      verdict: 'refused',
      reason: 'only a reset leaves ERROR',
    });
    expect(refused.status).toBe(1);
  });
});

describe('ferry states compare', () => {
  it('shows where the five published tables differ, and what was said of it', async () => {
    const { status, stdout } = await states('compare');
    expect(status).toBe(0);
    const cells = stdout.split('\n').map((line) => line.split(/\s{2,}/));
    expect(cells).toContainEqual([
      '',
      'v1-uapi',
      'v1-2021-09',
      'v1-2021-12',
      'v1-2022-01',
      'v1-libvfio-user',
    ]);
    expect(cells).toContainEqual(['RUNNING to RESUMING', 'yes', 'no', 'yes', 'yes', 'yes']);
    expect(cells).toContainEqual(['STOP_COPY to PRE_COPY', '?', 'no', 'yes', 'no', 'no']);
    expect(stdout).not.toContain('RUNNING to PRE_COPY ');
    expect(stdout).toContain('  v1-2021-09: Missing: reviewers said that it must be allowed; ');
    expect(stdout).toContain('  v1-libvfio-user: Not meant: the entry is `1 << RUNNING | SAVING`, ');
  });

  it('shows algorithms that allow the same and do not do the same', async () => {
    const { stdout } = await states('compare', '--rules', 'v1-2021-12,v1-2022-01');
    expect(stdout).toMatch(/^STOP to PRE_COPY +yes\* +yes\*$/m);
    expect(stdout).toContain('clear-then-set goes 000 -> 010 -> 011 and serializes on the way');
  });

  it('agrees that v2 is the machine of January 2022', async () => {
    const { stdout } = await states('compare', '--rules', 'v2,v1-2022-01', '--flags', '7');
    expect(stdout).toBe('They agree on everything.\n');
    const all = await states('compare', '--rules', 'v2-7,v1-2022-01', '--all', '--json');
    expect(lastJson(all.stdout)['changes']).toHaveLength(64);
  });
});

describe('ferry states check', () => {
  it('accepts a recorded migration under the rules of the flags that it tells', async () => {
    const { status, stdout } = await states('check', fixture('qemu/two.src.trace'));
    expect(stdout).toMatch(
      /: QEMU trace, 2 devices\n\n.*fa1003: 6 events from RUNNING on\n {2}v2-7 {2}accepted\n/,
    );
    expect(status).toBe(0);
    const qmp = await states('check', fixture('qemu/single.src.qmp'), '--json');
    expect(lastJson(qmp.stdout)).toMatchObject({
      format: 'QMP log',
      accepted: true,
      devices: [{ device: 'mtty0', results: [{}, {}, {}, { rules: 'v2-7', verdict: 'accepted' }] }],
    });
  });

  it('ends with 1 where no rules accept it, and says where each first refuses', async () => {
    const { status, stdout } = await check('PRE_COPY STOP_COPY PRE_COPY\n', '--rules', 'v2-7,v1-2022-01');
    expect(stdout).toContain(
      '  v2-7        refused  word 3 of line 1: STOP_COPY to PRE_COPY: a new saving session ',
    );
    expect(stdout).toContain(
      '  v1-2022-01  refused  word 3 of line 1: STOP_COPY (010) to PRE_COPY (011): a new ',
    );
    expect(status).toBe(1);
  });

  it('needs all rules that are named, and one of those that are not', async () => {
    const log = '001 011 reset 000 010';
    expect((await check(log)).status).toBe(0);
    expect((await check(log, '--rules', 'v1-2021-12')).status).toBe(0);
    expect((await check(log, '--rules', 'v1-2021-12,v1-libvfio-user')).status).toBe(1);
  });

  it('explains a reset that went unnoticed (libvfio-user, issue #853)', async () => {
    const { stdout, status } = await states(
      'check',
      fixture('libvfio-user-853.txt'),
      '--rules',
      'v1-libvfio-user',
    );
    expect(stdout).toContain('refused  line 6: STOP (000) to STOP_COPY (010): it is not in the table\n');
    expect(stdout).toContain('The reset at line 4 took the device out of PRE_COPY (011). ');
    expect(stdout).toContain('Device and VMM are out of step: ');
    expect(status).toBe(1);
  });

  it('reads standard input, and numbers where it is said whose', async () => {
    const running = shell.start(['states', 'check', '-', '--numbers', 'v1']);
    running.process.stdin?.end('1 3 2 0\n');
    const { stdout, status } = await running.ended;
    expect(stdout).toMatch(/^standard input: text, 1 device\n/);
    expect(stdout).toContain('  v1-uapi            accepted\n');
    expect(status).toBe(0);
  });

  it.each([
    ['', 'the log is empty'],
    ['RUNNING FLYING', "word 2 of line 1: 'FLYING' is no migration state"],
    ['1 2 3', "word 1 of line 1: '1' may be a state of v1 or of v2"],
    ['["RUNNING"', 'the JSON is not complete'],
    ['\0\0', 'this is no text'],
    ['{"QMP": {}}', 'there is no VFIO_MIGRATION event'],
    ['STOP \u001b[31mred', "'\ufffd[31mred' is no migration state"],
  ])('refuses the log %j with the reason and what to do', async (log, message) => {
    const { status, stderr } = await check(log);
    expect(stderr).toContain(message);
    expect(stderr).toContain('next: see what a log may hold: ferry states check --help\n');
    expect(status).toBe(1);
  });

  it('does not read without end', async () => {
    const endless = openSync('/dev/zero', 'r');
    const running = shell.start(['states', 'check', '/dev/fd/3'], [endless]);
    const { status, stderr } = await running.ended;
    closeSync(endless);
    expect(stderr).toBe('ferry: /dev/fd/3 has more than 67108864 bytes\n');
    expect(status).toBe(1);
  });

  it('says what it can not read', async () => {
    const missing = await states('check', shell.path('missing'), '--json');
    expect(lastJson(missing.stdout)).toMatchObject({
      error: { code: 'ERR_INPUT', errno: 'ENOENT', exitCode: 1 },
    });
    const folder = await states('check', shell.folder);
    expect(folder.stderr).toContain(`ferry: ${shell.folder} can't be read: EISDIR`);
  });
});
