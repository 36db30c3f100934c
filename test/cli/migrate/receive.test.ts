import { randomFillSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { makeTestCertificates } from '../../../src/channel/index.ts';
import { DeviceClient } from '../../../src/client/index.ts';
import { lastJson, type Running, Shell } from '../ferry.ts';

const SLOW = 120_000;
const content = randomFillSync(new Uint8Array(1024 * 1024));
/** A busy machine is slow to stop a device: here the time is not what is tested. */
const PATIENT = ['--downtime-limit', '60000', '--json'];

let shell: Shell;
beforeEach(() => {
  shell = new Shell();
});
afterEach(async () => {
  await shell.close();
});

const control = (name: string): string => shell.path(`${name}.sock`);

async function servers(...names: readonly string[]): Promise<void> {
  writeFileSync(shell.path('image'), content);
  for (const name of names) {
    const what = name.startsWith('a') ? ['--image', shell.path('image')] : ['--size', '1M'];
    await shell.serve('memory', `${name}.sock`, ...what);
  }
}

/** Starts a receiver; returns it with the address at which it listens. */
async function receiver(...args: readonly string[]): Promise<{ running: Running; address: string }> {
  const running = shell.start(['receive', ...args, '--json']);
  await running.sees('"listening"');
  const { listening } = lastJson(running.stdout());
  const address = typeof listening === 'object' && listening !== null && 'address' in listening;
  if (!address) throw new Error('it does not say where it listens');
  return { running, address: String(Reflect.get(listening, 'address')) };
}

async function stateOf(name: string): Promise<unknown> {
  return lastJson((await shell.run('state', control(name), '--json')).stdout)['state'];
}

async function hasContent(name: string): Promise<boolean> {
  const vmm = await DeviceClient.connect(control(name));
  try {
    return Buffer.compare(await vmm.read(2, 0, content.length), content) === 0;
  } finally {
    vmm.close();
  }
}

async function certificates() {
  const { ca, hosts } = await makeTestCertificates(shell.path('tls'), [
    '127.0.0.1',
    'source.test',
    'other.test',
  ]);
  return (name: string): string[] => {
    const { cert = '', key = '' } = hosts.get(name) ?? {};
    return ['--tls-ca', ca, '--tls-cert', cert, '--tls-key', key];
  };
}

describe('ferry migrate --to and ferry receive', () => {
  it(
    'move a group over TLS, over two connections, compressed',
    async () => {
      const [of] = await Promise.all([certificates(), servers('a1', 'a2', 'b1', 'b2')]);
      const { running, address } = await receiver(
        ...[
          control('b1'),
          control('b2'),
          '--listen',
          'tcp::0',
          '--tls-name',
          'source.test',
          ...of('127.0.0.1'),
        ],
      );
      expect(address).toMatch(/^tls:127\.0\.0\.1:\d+$/);
      const to = ['--to', address, '--channels', '2', '--compress', 'on', ...of('source.test')];
      const sent = await shell.run('migrate', control('a1'), control('a2'), ...to, ...PATIENT);
      expect(sent.status).toBe(0);
      expect(lastJson(sent.stdout)).toMatchObject({ owner: 'destination', destination: address });
      expect(sent.stderr).toContain('"type":"decision","end":"source","decision":"COMMIT"');
      const received = await running.ended;
      expect(received.status).toBe(0);
      expect(lastJson(received.stdout)).toMatchObject({ received: true, states: [2, 2] });
      for (const name of ['a1', 'a2']) expect(await stateOf(name)).toBe('STOP');
      for (const name of ['b1', 'b2'])
        expect([await stateOf(name), await hasContent(name)]).toEqual(['RUNNING', true]);
    },
    SLOW,
  );

  it(
    'say who is not let in, and wait for the right one',
    async () => {
      const [of] = await Promise.all([certificates(), servers('a', 'b')]);
      const { running, address } = await receiver(
        ...[control('b'), '--listen', 'tcp::0', '--tls-name', 'source.test', ...of('127.0.0.1')],
      );
      const send = (...more: readonly string[]) =>
        shell.run('migrate', control('a'), '--to', address, ...more);
      const stranger = await send(...of('other.test'));
      expect(stranger.status).toBe(1);
      const bare = await shell.run('migrate', control('a'), '--to', address.replace('tls:', 'tcp:'));
      expect(bare.status).toBe(1);
      const elsewhere = await send(...of('source.test'), '--tls-name', 'nobody.test');
      expect(elsewhere.stderr).toContain('the certificate is of somebody else');
      expect(running.stderr()).toContain('the certificate is of somebody else');
      expect([await stateOf('a'), await stateOf('b')]).toEqual(['RUNNING', 'RUNNING']);
      expect((await send(...of('source.test'), ...PATIENT)).status).toBe(0);
      expect((await running.ended).status).toBe(0);
    },
    SLOW,
  );

  it(
    'compare both sides with --dry-run, in plain words, and change nothing',
    async () => {
      await servers('a', 'b');
      await shell.serve('memory', 'c.sock', '--size', '2M');
      const { running } = await receiver(control('b'), '--listen', `unix:${shell.path('way')}`);
      const to = ['--to', `unix:${shell.path('way')}`];
      const good = await shell.run('migrate', control('a'), ...to, '--dry-run');
      expect(good).toMatchObject({ status: 0 });
      expect(good.stdout).toContain('can be moved to');
      const bad = await shell.run('migrate', control('c'), ...to, '--dry-run');
      expect(bad).toMatchObject({ status: 1 });
      expect(bad.stderr).toContain(
        'the size of region 2 is 0x200000 at the source and 0x100000 at the destination',
      );
      const many = await shell.run('migrate', control('a'), control('c'), ...to);
      expect(many.stderr).toContain('the source has 2 devices, and the destination 1');
      expect([await stateOf('a'), await stateOf('b')]).toEqual(['RUNNING', 'RUNNING']);
      const stopped = await running.kill('SIGINT');
      expect(stopped.status).toBe(1);
      expect(lastJson(stopped.stdout)).toMatchObject({ error: { code: 'ERR_CANCELLED' } });
    },
    SLOW,
  );

  it.each(['sender', 'receiver'] as const)(
    'are cancelled by SIGINT of the %s: the source runs on, the destination is fresh',
    async (whom) => {
      await servers('a', 'b');
      const { running, address } = await receiver(control('b'), '--listen', 'tcp::0');
      const slowly = ['--bandwidth', '200K', '--wait', '1000', ...PATIENT];
      const sender = shell.start(['migrate', control('a'), '--to', address, ...slowly]);
      await sender.sees('"phase":"pre-copy"');
      (whom === 'sender' ? sender : running).process.kill('SIGINT');
      const [sent, received] = [await sender.ended, await running.ended];
      expect([sent.status, received.status]).toEqual([1, 1]);
      for (const { stdout } of [sent, received]) {
        expect(lastJson(stdout)).toMatchObject({
          error: { code: 'ERR_MIGRATION_CANCELLED', owner: 'source' },
        });
      }
      expect(lastJson(sent.stdout)).toMatchObject({ error: { sourceState: 'RUNNING' } });
      expect([await stateOf('a'), await stateOf('b')]).toEqual(['RUNNING', 'RUNNING']);
      expect([await hasContent('a'), await hasContent('b')]).toEqual([true, false]);
    },
    SLOW,
  );

  it(
    'take one migration at a time',
    async () => {
      await servers('a', 'a2', 'b');
      const { running, address } = await receiver(control('b'), '--listen', 'tcp::0');
      const slowly = ['--bandwidth', '50K', ...PATIENT];
      const sender = shell.start(['migrate', control('a'), '--to', address, ...slowly]);
      await sender.sees('"phase":"pre-copy"');
      const other = await shell.run('migrate', control('a2'), '--to', address);
      expect(other.status).toBe(1);
      expect(other.stderr).toContain('the receiver is at work with another migration');
      expect(await stateOf('a2')).toBe('RUNNING');
      expect([sender.process.exitCode, running.process.exitCode]).toEqual([null, null]);
      expect((await sender.kill('SIGINT')).status).toBe(1);
    },
    SLOW,
  );
});

it(
  'ferry migration looks at one that goes on, keeps it from the switch, changes its limits, lets it go on',
  async () => {
    await servers('a', 'b');
    const { running, address } = await receiver(control('b'), '--listen', 'tcp::0');
    const slowly = ['--bandwidth', '20K', ...PATIENT];
    const sender = shell.start(['migrate', control('a'), '--to', address, ...slowly]);
    await sender.sees('"phase":"pre-copy"');
    const paused = await shell.run('migration', 'pause', '--json');
    expect(lastJson(paused.stdout)).toMatchObject({ status: { phase: 'pre-copy', waiting: false } });
    const wrong = await shell.run('migration', 'limits');
    expect(wrong.status).toBe(2);
    await shell.run('migration', 'limits', '--bandwidth', '100M', '--downtime-limit', '50000');
    await expect
      .poll(async () => lastJson((await shell.run('migration', 'status', '--json')).stdout), {
        timeout: 60_000,
      })
      .toMatchObject({
        status: { waiting: true, limits: { bytesPerSecond: 100 * 1024 ** 2, downtimeMs: 50_000 } },
      });
    expect((await shell.run('migration', 'status')).stdout).toContain('waits to be told to continue');
    expect(await stateOf('a')).toMatch(/^PRE_COPY/);
    expect((await shell.run('migration', 'continue')).status).toBe(0);
    expect([(await sender.ended).status, (await running.ended).status]).toEqual([0, 0]);
    const over = await shell.run('migration', 'status');
    expect(over.stderr).toContain('no migration is under way');
  },
  SLOW,
);

describe('what is typed', () => {
  const rows: readonly (readonly [string, readonly string[], number, RegExp])[] = [
    [
      'another host without TLS',
      ['receive', 'b.sock', '--listen', 'tcp:0.0.0.0:0'],
      1,
      /without TLS.*next:/s,
    ],
    ['half an identity', ['receive', 'b.sock', '--listen', 'tcp::0', '--tls-cert', 'x'], 2, /all three/],
    ['TLS for a path', ['migrate', 'b.sock', '--to', './way', '--tls-name', 'x'], 2, /not for unix/],
    ['nobody there', ['migrate', 'b.sock', '--to', 'tcp::1'], 1, /cannot connect.*next: .*ferry receive/s],
    ['a device twice', ['receive', 'b.sock', 'b.sock.control', '--listen', './way'], 2, /named twice/],
    ['one end only', ['migrate', 'b.sock'], 2, /SOURCE and a DESTINATION/],
  ];
  it.each(rows)(
    'is answered: %s',
    async (_, words, status, text) => {
      await servers('b');
      const outcome = await shell.run(...words);
      expect(outcome.stderr).toMatch(text);
      expect(outcome.status).toBe(status);
    },
    SLOW,
  );
});
