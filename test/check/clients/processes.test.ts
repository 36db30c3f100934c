import { describe, expect, it } from 'vitest';
import { BEHAVIOURS, checkClient, parseScript } from '../../../src/check/clients/index.ts';
import type { Report } from '../../../src/check/index.ts';
import { RawClient, versionPayload } from '../../helpers/raw-client.ts';

/** Plays to a client that is a line of Node: `connect` gives it a connection to the server. */
function check(script: string, names: readonly string[], limitMs = 2000): Promise<Report> {
  const program = `const connect = () => require('net').connect(process.argv[1]); ${script}`;
  return checkClient({
    socketPath: null,
    spawn: `node -e ${quoted(program)} {socket}`,
    ...{ startMs: 10_000, limitMs, quietMs: 50 },
    behaviours: BEHAVIOURS.filter(({ name }) => names.includes(name)),
  });
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

const broken = ({ results }: Report): string[] =>
  results.filter(({ outcome }) => outcome === 'broken').map(({ rule }) => rule.id);

describe('a client that is started', () => {
  it('is caught when it crashes', async () => {
    const report = await check("connect().on('connect', () => process.kill(process.pid, 'SIGSEGV'))", [
      'well-behaved',
    ]);
    expect(broken(report)).toEqual(['reaction.no-crash']);
    expect(report.results.find(({ outcome }) => outcome === 'broken')?.finding?.what).toContain('SIGSEGV');
  });

  it('is not accused of answers that it can not give any more when it ends', async () => {
    // VERSION, and a map of 4 KiB without a descriptor; then it ends at the first command of the server.
    const header =
      '(id, command, body) => { const b = Buffer.alloc(16); b.writeUInt16LE(id, 0); b.writeUInt16LE(command, 2); b.writeUInt32LE(16 + body.length, 4); return Buffer.concat([b, body]); }';
    const script = `const message = ${header}; const map = Buffer.alloc(32); map.writeUInt32LE(32, 0); map.writeBigUInt64LE(4096n, 24); const s = connect(); s.on('connect', () => s.write(message(1, 1, Buffer.from('\\0\\0\\0\\0{}\\0')))); let n = 0; s.on('data', () => { n += 1; if (n === 1) s.write(message(2, 2, map)); if (n === 2) s.write(message(3, 5, map)); if (n > 2) process.exit(1); })`;
    const report = await check(script, ['asking']);
    expect(broken(report)).toEqual([]);
    expect(report.results.find(({ rule }) => rule.id === 'dma.answers')?.reason).toContain('ended before');
  });

  it('may end with a status', async () => {
    const report = await check("connect().on('connect', () => process.exit(7))", ['well-behaved']);
    expect(broken(report)).toEqual([]);
  });

  it('is caught when it connects again and again', async () => {
    const script =
      "let left = 40; const again = () => (left-- > 0 ? connect().on('close', again).on('connect', function () { this.end(); }) : 0); again()";
    expect(broken(await check(script, ['leaves-at-1']))).toEqual(['reaction.no-storm']);
  });

  it('can not be judged when it never connects, and its complaint is told', async () => {
    await expect(check("console.error('no such device'); process.exit(1)", ['well-behaved'])).rejects.toThrow(
      /ended \(status 1\) without a connection; it said: no such device/,
    );
  });

  it('is ended with all that it has started, when its time is up', async () => {
    const begun = performance.now();
    const report = await check('connect(); setInterval(() => {}, 1000)', ['well-behaved'], 300);
    expect(broken(report)).toEqual([]);
    expect(performance.now() - begun).toBeLessThan(15_000);
  });

  it('is caught when it goes on after a header that no message has', async () => {
    const report = await checkClient({
      socketPath: `${process.env['TMPDIR'] ?? '/tmp'}/ferry-broken-stream-${process.pid}.sock`,
      spawn: null,
      ...{ startMs: 2000, limitMs: 2000, quietMs: 50 },
      behaviours: BEHAVIOURS.filter(({ name }) => name === 'tiny-message'),
      onPlay: async (_, path) => {
        const client = RawClient.connect(path);
        await client.request(1, versionPayload(0, 0));
        client.post(4, Buffer.from([16, 0, 0, 0, ...Buffer.alloc(12)]));
        await client.waitClosed();
        // It believes to be connected still.
        client.post(5, Buffer.from([32, 0, 0, 0, ...Buffer.alloc(28)]));
        client.close();
      },
    });
    expect(broken(report)).toEqual(['reaction.broken-stream']);
  });
});

describe('a script', () => {
  it('is read, with commands and errno values by name', () => {
    const script = {
      name: 'mine',
      steps: [
        { when: { command: 'DEVICE_GET_INFO', nth: 2 }, do: { kind: 'refuse', errno: 'EBUSY' } },
        { when: {}, do: { kind: 'pieces', bytes: 3 } },
        { do: { kind: 'patch', at: 8, bytes: 'ff00' } },
      ],
      offers: { maxMsgFds: 1 },
    };
    expect(parseScript(JSON.stringify(script))).toEqual({
      name: 'mine',
      does: 'follows a script',
      steps: [
        { when: { command: 4, nth: 2 }, do: { kind: 'refuse', errno: 16 } },
        { when: { command: null, nth: null }, do: { kind: 'pieces', bytes: 3 } },
        { when: { command: null, nth: null }, do: { kind: 'patch', at: 8, bytes: Uint8Array.of(255, 0) } },
      ],
      offers: { maxMsgFds: 1, leftInStopCopy: false },
    });
  });

  it.each([
    ['[', 'script'],
    ['[]', 'script'],
    ['{"steps": 7}', 'steps'],
    ['{"steps": [7]}', 'steps[0]'],
    ['{"steps": [{"do": {"kind": "sing"}}]}', 'steps[0].do.kind'],
    ['{"steps": [{"when": {"command": "NOTHING"}, "do": {"kind": "silent"}}]}', 'steps[0].when.command'],
    ['{"steps": [{"do": {"kind": "delay", "ms": -1}}]}', 'steps[0].do.ms'],
    ['{"steps": [{"do": {"kind": "pieces", "bytes": 0}}]}', 'steps[0].do.bytes'],
    ['{"steps": [{"do": {"kind": "refuse", "errno": "EWHAT"}}]}', 'steps[0].do.errno'],
    ['{"steps": [{"do": {"kind": "patch", "at": 0, "bytes": "f"}}]}', 'steps[0].do.bytes'],
    ['{"steps": [{"do": {"kind": "ask", "ask": "what"}}]}', 'steps[0].do.ask'],
    ['{"offers": {"maxMsgFds": 1.5}}', 'offers.maxMsgFds'],
    ['{"name": 7}', 'script.name'],
  ])('with a mistake is refused, and the place named: %s', (text, where) => {
    expect(() => parseScript(text)).toThrow(
      expect.objectContaining({ code: 'ERR_SCRIPT', context: { where } }),
    );
  });
});
