import { describe, expect, it } from 'vitest';
import {
  Conversation,
  eventJson,
  eventLines,
  messageJson,
  messageLines,
  type TraceStyle,
} from '../../src/trace/index.ts';
import { hex } from '../protocol/support.ts';
import { messageEvent, whole } from './support.ts';

/** Shows what is dressed how. */
const style: TraceStyle = {
  stream: (connection, text) => `<s${connection}>${text}</s>`,
  error: (text) => `<e>${text}</e>`,
  change: (text) => `<c>${text}</c>`,
  dim: (text) => text,
};
const plain: TraceStyle = {
  stream: (_, text) => text,
  error: (text) => text,
  change: (text) => text,
  dim: (text) => text,
};

const TIME = 1_700_000_000_123_456_789n;
const MAP = hex('20000000 03000000 0000000000000000 0000100000000000 0000200000000000');

function lines(bytes: Buffer, options: Parameters<typeof messageEvent>[2] = {}, fields = false): string[] {
  const told = new Conversation().tell(messageEvent('client', bytes, { time: TIME, ...options }));
  return messageLines(told, { style: plain, fields });
}

describe('a message in lines', () => {
  it('says when, on which connection, which way, what, and what came along', () => {
    const fds = [{ kind: 'memfd' as const, size: 4096n, identity: 3n }];
    expect(lines(whole(2, false, MAP, 3), { fds, role: 'control', number: 2 })).toEqual([
      '22:13:20.123456 #2c -> DMA_MAP 3: argsz=32 flags=READ|WRITE offset=0x0 address=0x100000 size=0x200000, fd[0] memfd of 4096 bytes',
    ]);
  });

  it('names regions and interrupts, and what a sender wants', () => {
    const posted = whole(10, false, hex('0400000000000000 07000000 02000000 0601'), 9);
    posted.writeUInt32LE(0x10, 8);
    expect(lines(posted)[0]).toContain(
      'REGION_WRITE 9: offset=0x4 region=CONFIG count=2 data=0601, no reply wanted',
    );
    expect(lines(whole(7, false, hex('10000000 00000000 02000000 00000000')))[0]).toContain('index=MSIX');
  });

  it('tells the latency of a reply, an errno by its name, and dresses what matters', () => {
    const conversation = new Conversation();
    conversation.tell(
      messageEvent('client', whole(16, false, hex('10000000 02000200 03000000 ffffffff'), 5), { time: TIME }),
    );
    const reply = whole(16, true, Buffer.alloc(0), 5);
    reply.writeUInt32LE(0x21, 8);
    reply.writeUInt32LE(22, 12);
    const told = conversation.tell(messageEvent('server', reply, { time: TIME + 42_100n }));
    expect(messageLines(told, { style })).toEqual([
      '22:13:20.123498 <s1>#1 <-</s> <s1>DEVICE_FEATURE 5</s>: <e>EINVAL</e> [42.1 us]',
      '<c>      state ? -> STOP_COPY refused; the state is not known now</c>',
    ]);
  });

  it('tells of each rule that is broken, with the byte', () => {
    const [, problem] = lines(
      whole(2, false, hex('20000000 00000000 0000000000000000 0000100000000000 0000200000000000')),
    );
    expect(problem).toMatch(/byte 20: DMA_MAP request: flags at byte 4 must have READ, WRITE or both/);
  });

  it('can have each field in a line, with its bytes', () => {
    const all = lines(
      whole(15, false, hex('0100000000000000 0800000000000000 00000000 04000000 0102030400000000')),
      {},
      true,
    );
    expect(all.slice(1).map((line) => line.trim())).toEqual([
      '0..1     message_id = 7',
      '2..3     command = REGION_WRITE_MULTI',
      '4..7     size = 48',
      '8..11    flags = COMMAND',
      '12..15    error = 0',
      '16..23    wr_cnt = 1',
      '24..47    wrs[0]',
      '24..31    offset = 0x8',
      '32..35    region = BAR0',
      '36..39    count = 4',
      '40..47    data = 0x4030201',
    ]);
  });

  it('lets nothing through that would control a terminal, and no text without end', () => {
    const version = whole(
      1,
      false,
      Buffer.concat([hex('00000000'), Buffer.from(`{"a":"\u001b[2J${'x'.repeat(600)}"}\0`)]),
    );
    const [line = ''] = lines(version);
    expect(line).not.toContain('\u001b');
    expect(line).toContain('characters)');
    expect(line.length).toBeLessThan(600);
  });
});

describe('other events', () => {
  const connection = { number: 4, role: 'main' as const };
  it.each([
    [{ kind: 'opened', connection, time: TIME, pid: 12 }, '#4 -- connected to the main socket by process 12'],
    [
      { kind: 'ended', connection, time: TIME, from: 'client', end: { kind: 'end of stream' } },
      '#4 -> the client has closed',
    ],
    [
      { kind: 'ended', connection, time: TIME, from: 'server', end: { kind: 'lost', errno: 104 } },
      '#4 <- the server was lost: ECONNRESET',
    ],
    [
      { kind: 'ended', connection, time: TIME, from: 'server', end: { kind: 'refused', errno: 32 } },
      '#4 <- the client takes nothing any more: EPIPE',
    ],
    [
      {
        kind: 'bytes',
        connection,
        time: TIME,
        from: 'client',
        bytes: Buffer.from('GET'),
        wireSize: 3,
        fds: [],
      },
      '#4 -> 3 bytes that are no message: 474554',
    ],
  ] as const)('%o', (event, text) => {
    expect(eventLines(event, { style: plain })).toEqual([`22:13:20.123456 ${text}`]);
  });
});

describe('JSON', () => {
  it('has every field with its bytes', () => {
    const told = new Conversation().tell(
      messageEvent('client', whole(9, false, hex('0400000000000000 07000000 04000000'), 6)),
    );
    expect(messageJson(told)).toMatchObject({
      ...{
        number: 1,
        connection: 1,
        socket: 'main',
        from: 'client',
        kind: 'request',
        command: 'REGION_READ',
        id: 6,
        bytes: 32,
      },
      fields: [
        { name: 'offset', offset: 16, size: 8, value: 4n, text: '0x4' },
        { name: 'region', offset: 24, size: 4, value: 7, text: 'CONFIG' },
        { name: 'count', offset: 28, size: 4, value: 4 },
      ],
    });
  });

  it('has what is no message as hex', () => {
    const connection = { number: 1, role: 'main' as const };
    const bytes = Buffer.from('GET');
    const json = eventJson({
      kind: 'bytes',
      connection,
      time: 1n,
      from: 'client',
      bytes,
      wireSize: 3,
      fds: [],
    });
    expect(json).toMatchObject({ kind: 'bytes', hex: '474554', bytes: 3 });
  });
});
