import { readdirSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loadNative } from '../../../src/native/index.ts';
import { fields, RawClient } from '../../helpers/raw-client.ts';
import { lastJson, type Running, Shell } from '../ferry.ts';

const native = loadNative();
let shell: Shell;
beforeEach(() => {
  shell = new Shell();
});
afterEach(() => shell.close());

/** Starts `ferry trace` between vm.sock and dev.sock. */
async function trace(...more: readonly string[]): Promise<Running> {
  const args = ['trace', '--listen', shell.path('vm.sock'), '--connect', shell.path('dev.sock'), ...more];
  const running = shell.start(args);
  await running.sees('listening on');
  return running;
}

/** What a small VMM says: memory, an interrupt, a register, and something that is refused. */
async function converse(path: string): Promise<void> {
  const client = await RawClient.open(path);
  const memory = native.memfd('guest', 65536, false);
  const interrupt = native.eventfd(0);
  expect((await client.request(2, fields(32, 3, 0n, 0x10000n, 65536n), [memory])).error).toBe(0);
  expect((await client.request(8, fields(20, 0x24, 0, 0, 1), [interrupt])).error).toBe(0);
  expect((await client.request(9, fields(0n, 0, 4))).payload).toHaveLength(20);
  expect((await client.request(9, fields(0n, 99, 4))).error).toBe(22);
  client.close();
  native.close(memory);
  native.close(interrupt);
}

describe('ferry trace', () => {
  it('shows each message of several connections, with descriptors, errors by name and both sockets', async () => {
    await shell.serve('edu', 'dev.sock');
    const running = await trace();
    await converse(shell.path('vm.sock'));
    const inspected = await shell.run('inspect', shell.path('vm.sock'), '--json');
    expect(inspected.status).toBe(0);
    await running.sees('#2c');
    await running.sees('FERRY_INSPECT');
    const { status, stdout } = await running.kill('SIGTERM');
    expect(status).toBe(0);
    for (const pattern of [
      /#1 -- connected to the main socket by process \d+$/m,
      /#1 -> VERSION 1: major=0 minor=0 capabilities=\{"capabilities"/,
      /#1 -> DMA_MAP 2: argsz=32 flags=READ\|WRITE offset=0x0 address=0x10000 size=0x10000, fd\[0\] memfd of 65536 bytes$/m,
      /#1 <- DMA_MAP 2: done \[[\d.]+ [mu]s\]$/m,
      /#1 -> DEVICE_SET_IRQS 3: .*index=INTX .*, fd\[0\] eventfd$/m,
      /#1 <- REGION_READ 4: offset=0x0 region=BAR0 count=4 data=[\da-f]{8} \[/,
      /#1 <- REGION_READ 5: EINVAL \[/,
      /#1 -> the client has closed$/m,
      /#2c -- connected to the control socket/,
    ]) {
      expect(stdout).toMatch(pattern);
    }
    expect(readdirSync(shell.folder)).not.toContain('vm.sock');
  });

  it('records, and reads back the same', async () => {
    await shell.serve('edu', 'dev.sock');
    const running = await trace('-w', shell.path('rec.pcapng'), '--print', '--json');
    await converse(shell.path('vm.sock'));
    await running.sees('"kind":"ended"');
    const { stdout } = await running.kill('SIGINT');
    const read = await shell.run('trace', 'read', shell.path('rec.pcapng'), '--json');
    expect(read.stdout).toBe(stdout);
    expect(stdout.split('\n').length).toBeGreaterThan(12);
    const some = await shell.run(
      'trace',
      'read',
      shell.path('rec.pcapng'),
      '--filter',
      'command=DMA_MAP fds>0',
      '--json',
    );
    expect(lastJson(some.stdout)).toMatchObject({
      command: 'DMA_MAP',
      fds: [{ kind: 'memfd', size: 65536 }],
    });
    expect(some.stdout.trim().split('\n')).toHaveLength(1);
    const figures = await shell.run('trace', 'read', shell.path('rec.pcapng'), '--summary');
    expect(figures.stdout).toMatch(/^10 messages in .*, 2 descriptors$/m);
    expect(figures.stdout).toMatch(/^REGION_READ +2 +1 /m);
    const fieldsShown = await shell.run(
      'trace',
      'read',
      shell.path('rec.pcapng'),
      '--fields',
      '--filter',
      'id=2 kind=request',
    );
    expect(fieldsShown.stdout).toMatch(/ 32\.\.39 +address = 0x10000$/m);
  }, 60_000);

  it('passes on what is no message, and says so', async () => {
    await shell.serve('edu', 'dev.sock');
    const running = await trace();
    const client = RawClient.connect(shell.path('vm.sock'));
    client.send(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
    await running.sees('bytes that are no message: 474554202f');
    await client.waitClosed();
    client.close();
    expect((await running.kill('SIGTERM')).status).toBe(0);
  });

  it('goes on when the server is killed, and when another is there', async () => {
    const first = await shell.serve('edu', 'dev.sock', '--no-control');
    const running = await trace('--summary', '--json', '--no-control');
    const client = await RawClient.open(shell.path('vm.sock'));
    await first.kill('SIGKILL');
    await client.waitClosed();
    client.close();
    const alone = RawClient.connect(shell.path('vm.sock'));
    await alone.waitClosed();
    alone.close();
    await running.sees('a client was turned away');
    await shell.serve('edu', 'dev.sock', '--no-control');
    await converse(shell.path('vm.sock'));
    const { status, stdout } = await running.kill('SIGTERM');
    expect(status).toBe(0);
    expect(lastJson(stdout)).toMatchObject({ messages: 12, errors: 1, connections: { opened: 2 } });
  });

  it('lets connections go on when a recording can no longer be written', async () => {
    await shell.serve('edu', 'dev.sock');
    const running = await trace('-w', '/dev/full');
    await converse(shell.path('vm.sock'));
    await running.sees('the recording ends here, the connections go on');
    await converse(shell.path('vm.sock'));
    expect((await running.kill('SIGTERM')).status).toBe(1);
  });

  it.each([
    [['trace'], 'give the path for the client'],
    [['trace', 'read', '/dev/null'], 'no recording that can be read'],
  ])('%j is refused with what to do', async (args, text) => {
    const { status, stderr } = await shell.run(...args);
    expect(stderr).toContain(text);
    expect(status).toBeGreaterThan(0);
  });
});

describe('ferry trace replay', () => {
  it('tells where a server answers otherwise than the recorded one, but for what may differ', async () => {
    await shell.serve('edu', 'dev.sock');
    const file = shell.path('rec.pcapng');
    const running = await trace('-w', file);
    await converse(shell.path('vm.sock'));
    await running.kill('SIGTERM');
    const replay = (socket: string, ...more: readonly string[]) =>
      shell.run('trace', 'replay', file, shell.path(socket), ...more);

    // The same device, which the recorded client has left as a fresh one: with descriptors and all.
    const same = await replay('dev.sock');
    expect(same.stdout).toBe(
      '5 requests replayed: 5 answered as recorded, 0 otherwise, 0 not at all, 0 without an answer to compare\n',
    );
    expect(same.status).toBe(0);

    await shell.serve('memory', 'other.sock', '--size', '1M');
    const different = await replay('other.sock');
    expect(different.status).toBe(1);
    expect(different.stdout).toMatch(
      /-> REGION_READ 4: .*\n +region_read\.reply\.data: recorded [\da-f]{8}, now [\da-f]{8}\n/,
    );
    expect(different.stdout).toContain('4 answered as recorded, 1 otherwise');
    const ignored = await replay('other.sock', '--ignore', 'region_read.data', '--json');
    expect(lastJson(ignored.stdout)).toMatchObject({ requests: 5, equal: 5, different: 0, ignored: 1 });
    expect(ignored.status).toBe(0);

    const listening = native.listen(shell.path('mute.sock'), 0o600, 4);
    const mute = await replay('mute.sock', '--timeout', '200');
    native.close(listening);
    expect(mute.status).toBe(1);
    expect(mute.stdout).toContain('no answer:');
    expect(mute.stdout).toContain('4 requests were not sent any more');
  }, 60_000);
});

describe('ferry trace dissector', () => {
  it('prints Lua for Wireshark', async () => {
    const { status, stdout } = await shell.run('trace', 'dissector');
    expect(status).toBe(0);
    expect(stdout).toContain('Proto("vfio_user", "vfio-user")');
    expect(stdout).toContain('vfio_user.dma_map.request.address');
  });
});
