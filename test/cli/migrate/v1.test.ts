import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { DeviceClient } from '../../../src/client/index.ts';
import { MemoryRegister } from '../../../src/devices/index.ts';
import { lastJson, type Running, Shell } from '../ferry.ts';

let shell: Shell;
beforeEach(() => {
  shell = new Shell();
});
afterEach(async () => {
  await shell.close();
});

const serve = (socket: string, ...more: string[]): Promise<Running> =>
  shell.serve('memory', socket, '--size', '64K', ...more);

describe('ferry serve --migration v1', () => {
  it('is seen by ferry inspect, in lines and as JSON', async () => {
    await serve('a.sock', '--migration', 'v1', '--v1-rule', 'v1-uapi', '--v1-data', '64K');
    const [lines, json] = await Promise.all([
      shell.run('inspect', shell.path('a.sock')),
      shell.run('inspect', shell.path('a.sock'), '--json'),
    ]);
    expect(lines.stdout).toContain('state RUNNING\n\t\tby v1, through region 9: device_state 001');
    expect(lines.stdout).toContain('v1: device_state 001, pieces of up to 64.0 KiB, rules v1-uapi');
    expect(lastJson(json.stdout)).toMatchObject({
      migration: { supported: true, state: 'RUNNING', v1: { region: 9, deviceState: 1 } },
      server: { migration: { interface: 'v1', v1: { rule: 'v1-uapi', dataSize: 65536 } } },
    });
  });

  it('is driven by ferry state, by the names of v2', async () => {
    await serve('a.sock', '--migration', 'v1');
    const to = async (...args: string[]): Promise<string> => {
      const { stdout } = await shell.run('state', shell.path('a.sock'), ...args);
      return stdout.split('\n')[0] ?? '';
    };
    expect(await to()).toBe('RUNNING');
    expect(await to('--set', 'STOP_COPY')).toBe('STOP_COPY');
    expect(await to('--reset')).toBe('RUNNING');
    const refused = await shell.run('state', shell.path('a.sock'), '--set', 'PRE_COPY_P2P');
    expect([refused.status, refused.stderr]).toEqual([1, 'ferry: v1 has no PRE_COPY_P2P\n']);
  });

  it('refuses what can not be', async () => {
    const start = (...args: string[]) =>
      shell.run('serve', 'edu', '--socket-path', shell.path('x.sock'), ...args);
    const outcomes = await Promise.all([
      start('--v1-rule', 'v1-uapi'),
      start('--migration', 'v1', '--v1-rule', 'v2-7'),
      start('--migration', 'v1', '--v1-data', '1000'),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([2, 2, 1]);
    expect(outcomes[0]?.stderr).toContain('belong to --migration v1');
    expect(outcomes[1]?.stderr).toContain('v1-libvfio-user');
  });
});

describe('ferry migrate', () => {
  it.each([
    ['without pre-copy', [], [], ['--no-pre-copy', '--downtime', '20000']],
    ['from a thread of its own', ['--dedicated'], [], []],
    ['between main sockets, as old servers have no others', ['--no-control'], ['--no-control'], []],
  ])('moves a v1 device %s', async (_, here, there, options) => {
    await Promise.all([
      serve('a.sock', '--migration', 'v1', ...here),
      serve('b.sock', '--migration', 'v1', ...there),
    ]);
    const mark = async (socket: string, use: (client: DeviceClient) => Promise<unknown>) => {
      const client = await DeviceClient.connect(shell.path(socket));
      try {
        return await use(client);
      } finally {
        client.close();
      }
    };
    await mark('a.sock', (vmm) => vmm.writeU32(0, MemoryRegister.SCRATCH, 0xfee1dead));
    const outcome = await shell.run('migrate', shell.path('a.sock'), shell.path('b.sock'), ...options);
    expect([outcome.status, outcome.stderr]).toEqual([0, '']);
    expect(await mark('b.sock', (vmm) => vmm.readU32(0, MemoryRegister.SCRATCH))).toBe(0xfee1dead);
  });

  it('says what does not fit before it stops anything', async () => {
    await Promise.all([
      serve('a.sock', '--migration', 'v1'),
      serve('b.sock', '--migration', 'v1', '--v1-data', '64K'),
    ]);
    const outcome = await shell.run('migrate', shell.path('a.sock'), shell.path('b.sock'));
    expect(outcome.status).toBe(1);
    expect(outcome.stderr).toContain(
      'takes pieces of 65536 bytes, and those of the source have up to 1048576',
    );
  });
});
