import { statSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fields, RawClient } from '../../helpers/raw-client.ts';
import { lastJson, type Running, Shell } from '../ferry.ts';

let shell: Shell;
let client: RawClient | null = null;
let proxy: Running;
const LIVENESS = 4n;

beforeEach(async () => {
  shell = new Shell();
  await Promise.all([shell.serve('edu', 'a.sock'), shell.serve('edu', 'b.sock')]);
});
afterEach(async () => {
  client?.close();
  await shell.close();
});

async function start(...more: readonly string[]): Promise<void> {
  proxy = shell.start([
    ...['proxy', '--listen', 'vm.sock', '--backend', 'a.sock', '--control', 'ctl.sock'],
    ...more,
  ]);
  await proxy.sees('listening');
  client = await RawClient.open(shell.path('vm.sock'));
  for (const region of [0, 7]) await client.request(5, fields(32, 0, region, 0, 0n, 0n));
  await client.request(10, fields(LIVENESS, 0, 4, Buffer.from([1, 0, 0, 0])));
}

async function liveness(): Promise<number | undefined> {
  const reply = await client?.request(9, fields(LIVENESS, 0, 4));
  return reply && Buffer.from(reply.payload).readUInt32LE(16);
}

describe('ferry proxy', { timeout: 120_000 }, () => {
  it('says what it does, exchanges the server on command, and tells how it is', async () => {
    await start();
    expect(proxy.stdout()).toBe('listening on vm.sock (control ctl.sock), before a.sock\n');
    expect(statSync(shell.path('ctl.sock')).mode & 0o777).toBe(0o600);
    const swapped = await shell.run('proxy', 'swap', 'ctl.sock', 'b.sock');
    expect(swapped.stdout).toMatch(
      /b\.sock serves in the place of a\.sock\n {2}.* of state .* before\), 0 DMA maps, 0 interrupt vectors; the VMM waited /,
    );
    expect(swapped.status).toBe(0);
    expect(await liveness()).toBe(0xffff_fffe);
    const { stdout } = await shell.run('proxy', 'status', 'ctl.sock');
    expect(stdout).toMatch(/^serving: vm\.sock before .*b\.sock\n/);
    expect(stdout).toMatch(/^1 swap; in the last one the VMM waited /m);
    expect((await shell.run('state', 'a.sock')).stdout).toMatch(/^STOP\n/);
    expect((await proxy.kill('SIGTERM')).status).toBe(0);
    expect(() => statSync(shell.path('vm.sock'))).toThrow();
    expect(() => statSync(shell.path('ctl.sock'))).toThrow();
  });

  it('fails with the step and the reason, and leaves the old server in service', async () => {
    await start();
    await shell.serve('memory', 'm.sock', '--size', '64K');
    const { status, stdout } = await shell.run('proxy', 'swap', 'ctl.sock', 'm.sock', '--json');
    expect(status).toBe(1);
    expect(lastJson(stdout)).toMatchObject({
      error: { code: 'ERR_SWAP_FAILED', context: { step: 'describe' } },
    });
    expect(await liveness()).toBe(0xffff_fffe);
    const { stdout: told } = await shell.run('proxy', 'status', 'ctl.sock', '--json');
    expect(lastJson(told)).toMatchObject({
      state: 'serving',
      swaps: 0,
      lastFailure: expect.stringContaining('describe'),
    });
  });

  it('shows and records what passes, as ferry trace does', async () => {
    await start('--trace', '--filter', 'command=REGION_WRITE', '-w', 'passed.pcapng');
    await proxy.sees('REGION_WRITE');
    expect(proxy.stdout()).not.toContain('GET_REGION_INFO');
    await proxy.kill('SIGTERM');
    const { status, stdout } = await shell.run('trace', 'read', 'passed.pcapng');
    expect(status).toBe(0);
    expect(stdout).toMatch(/VERSION[\s\S]*GET_REGION_INFO[\s\S]*REGION_WRITE/);
  });

  it.each([
    [['proxy', '--listen', 'vm.sock'], 2, '--backend PATH'],
    [['proxy', '--listen', 'vm.sock', '--backend', 'a.sock', '--fields'], 2, '--trace'],
    [['proxy', 'status', 'nobody'], 1, 'the proxy does not answer'],
    [['proxy', 'swap', 'nobody', 'b.sock'], 1, 'ferry proxy --listen'],
  ] as const)('%j ends with %i', async (args, status, text) => {
    const ended = await shell.run(...args);
    expect([ended.status, ended.stderr]).toEqual([status, expect.stringContaining(text)]);
  });
});
