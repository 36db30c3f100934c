import { writeFileSync } from 'node:fs';
import { afterAll, describe, expect, it } from 'vitest';
import { FERRY_LINE, lastJson, Shell } from '../ferry.ts';

const shell = new Shell();
afterAll(() => shell.close());

/** A client to try: the built command itself. */
const INSPECT = `${FERRY_LINE} inspect {socket}`;

describe('ferry check --as-server', () => {
  it('plays servers to a client that it starts, and reports what that did', async () => {
    const play = 'well-behaved,busy,leaves-at-5';
    const { status, stdout } = await shell.run('check', '--as-server', '--spawn', INSPECT, '--play', play);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^leaves-at-5 +a server on \/.*\.sock that closes the connection/m);
    expect(stdout).toContain('3 behaviours in 3 connections');
    expect(stdout).toMatch(/\d+ passed, 0 broken, \d+ not applicable, 0 inconclusive/);
  });

  it('finds what is wrong, with a status and in JSON', async () => {
    // Speaks before it was answered, and about a device that it knows nothing of.
    const client =
      'node -e \'require("net").connect(process.argv[1]).write(Buffer.from("0000040020000000000000000000000010000000000000000000000000000000", "hex"))\' {socket}';
    const run = await shell.run(
      'check',
      '--as-server',
      '--spawn',
      client,
      '--play',
      'well-behaved',
      '--limit',
      '1000',
      '--format',
      'json',
    );
    expect(run.status).toBe(1);
    const text = JSON.stringify(lastJson(run.stdout.replace(/\n/g, ' ')));
    expect(text).toContain(
      'it began with DEVICE_GET_INFO (towards a server that answers everything as it should)',
    );
  });

  it('plays a script', async () => {
    const script = {
      name: 'mine',
      does: 'refuses everything',
      steps: [{ when: {}, do: { kind: 'refuse', errno: 'EBUSY' } }],
    };
    writeFileSync(shell.path('mine.json'), JSON.stringify(script));
    const { status, stdout } = await shell.run(
      'check',
      '--as-server',
      '--spawn',
      INSPECT,
      '--script',
      'mine.json',
    );
    expect(status).toBe(0);
    expect(stdout).toContain('that refuses everything');
  });

  it('listens where it is told for a client that somebody else starts', async () => {
    const socket = shell.path('dut.sock');
    const checking = shell.start(['check', '--as-server', socket, '--play', 'well-behaved']);
    await checking.sees('well-behaved');
    expect((await shell.run('inspect', socket)).stdout).toContain('Device 1234:4643');
    expect(await checking.ended).toMatchObject({ status: 0 });
  });

  it.each([
    [['--as-server'], 'give the socket to listen on, or --spawn'],
    [['--as-server', '--spawn', 'true'], 'needs {socket}'],
    [['--as-server', 'a.sock', '--play', 'nothing'], "no behaviour is called 'nothing'"],
  ])('refuses %j', async (args, why) => {
    const { status, stderr } = await shell.run('check', ...args);
    expect(status).toBe(2);
    expect(stderr).toContain(why);
  });

  it('lists rules and behaviours', async () => {
    const { stdout } = await shell.run('check', '--as-server', '--list');
    expect(stdout).toMatch(/negotiation\.version-first +must +the first message is VERSION/);
    expect(stdout).toMatch(/leaves-at-34 +closes the connection/);
  });
});
