import { crc32, deflateRawSync } from 'node:zlib';
import { describe, expect, it, vi } from 'vitest';
import { Connection } from '../../src/channel/connection.ts';
import { controlMessages, RoleNumber } from '../../src/channel/control-messages.ts';
import { FrameFlag, seedOf } from '../../src/channel/frame.ts';
import { type ChannelError, MAX_BODY, type Message } from '../../src/channel/index.ts';
import { messages } from '../../src/channel/messages.ts';
import { FakeLink } from './fake-link.ts';
import { bytes, samples } from './samples.ts';
import { collect, endOf, type Side, session, side, turn, WINDOW } from './stream-support.ts';

const data: Message = { kind: 'DATA', device: 0 };
/** For what takes some seconds of a processor that it may have to share. */
const PATIENCE_MS = 240_000;

/** Carries what both sides have written to the other, until there is nothing more. */
function carry(a: Side, b: Side): void {
  for (let moved = true; moved; ) {
    moved = false;
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      for (const [index, link] of from.links.entries()) {
        for (const piece of link.written.splice(0)) {
          moved = true;
          to.links[index]?.arrive(piece);
        }
      }
    }
  }
}

function code(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as ChannelError).code;
  }
  return 'no error';
}

/** A hostile sender that writes whatever frames it likes, with sound checksums. */
function forger() {
  const link = new FakeLink();
  const connection = new Connection(link, {
    crc32,
    role: 'sender',
    window: WINDOW,
    events: { control() {}, arrived() {}, writable() {}, failed() {} },
  });
  connection.greeted(
    { sent: seedOf(crc32, session, 0, RoleNumber.sender), received: 0 },
    Number.POSITIVE_INFINITY,
  );
  return {
    connection,
    send: (kind: number, head: Uint8Array, sequence: number, flags = 0, rawLength = head.length) =>
      connection.send({ kind, flags, rawLength, head, body: null, live: false }, sequence),
    get bytes() {
      return link.bytes;
    },
  };
}

describe('the window', () => {
  it('holds the sender back, and lets it go on when the receiver has handled messages', async () => {
    const [sender, receiver] = [side('sender'), side('receiver')];
    let free = (): void => {};
    receiver.channel.receive(() => new Promise((resolve) => (free = resolve)));
    await turn();
    const body = bytes(1_000_000);
    expect(sender.channel.send(data, body)).toBeNull();
    const second = sender.channel.send(data, body);
    expect(second).toBeInstanceOf(Promise);
    sender.channel.send(data, body);
    carry(sender, receiver);
    // The third does not fit into the window of 2.1 MiB.
    expect(sender.link.bytes).toHaveLength(0);
    expect(sender.channel.statistics.queued).toBe(1_000_002);
    free();
    await turn();
    carry(sender, receiver);
    expect(sender.channel.statistics.queued).toBe(0);
    free();
    await turn();
    free();
    await turn();
    carry(sender, receiver);
    await second;
  });

  it.each([
    ['each of the largest frames, of the smallest window', WINDOW, [1, 1, 1, 1]],
    ['half of a large window', 8 * WINDOW, [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]],
  ])('is opened again after %s', async (_, window, credits) => {
    const [sender, receiver] = [side('sender', { window }), side('receiver', { window })];
    collect(receiver.channel);
    await turn();
    const told = credits.map(() => {
      sender.channel.send(data, bytes(1_000_000));
      for (const piece of sender.link.written.splice(0)) receiver.link.arrive(piece);
      const pieces = receiver.link.written.splice(0);
      for (const piece of pieces) sender.link.arrive(piece);
      return pieces.length;
    });
    expect(told).toEqual(credits);
  });

  it('lets the signs of life of both sides through while the receiver handles nothing', async () => {
    const [sender, receiver] = [side('sender', { silenceMs: 40 }), side('receiver', { silenceMs: 40 })];
    receiver.channel.receive(() => new Promise(() => {}));
    await turn();
    sender.channel.send(data, bytes(1_000_000));
    sender.channel.send(data, bytes(1_000_000));
    const until = Date.now() + 250;
    while (Date.now() < until) {
      carry(sender, receiver);
      await turn();
    }
    expect(await endOf(sender.channel)).toBeNull();
    expect(await endOf(receiver.channel)).toBeNull();
    sender.channel.abort('done');
    receiver.channel.abort('done');
  });

  it('is enforced by the receiver', async () => {
    const receiver = side('receiver');
    const { send, ...evil } = forger();
    for (let i = 1; i <= 3; i += 1) send(messages.DATA.number, bytes(800_000), i);
    receiver.link.arrive(evil.connection.link instanceof FakeLink ? evil.connection.link.bytes : bytes(0));
    expect((await receiver.channel.closed).error?.code).toBe('ERR_CHANNEL_WINDOW');
  });

  it('does not let signs of life fill the memory while a message waits', {
    timeout: PATIENCE_MS,
  }, async () => {
    const receiver = side('receiver');
    const evil = forger();
    // More signs of life after each than a segment of the buffer holds, and more messages than there are segments.
    for (let sequence = 1; sequence <= 5; sequence += 1) {
      evil.send(messages.DATA.number, bytes(1000), sequence);
      for (let i = 0; i < 62_000; i += 1) evil.connection.sendControl({ kind: 'ALIVE' });
    }
    receiver.link.arrive(evil.bytes, 36);
    expect(await endOf(receiver.channel)).toBeNull();
    receiver.channel.abort('done');
  });

  it('takes no sign of life twice', async () => {
    const receiver = side('receiver');
    const evil = forger();
    evil.connection.sendControl({ kind: 'ALIVE' });
    const alive = evil.bytes;
    receiver.link.arrive(alive);
    receiver.link.arrive(alive);
    expect((await receiver.channel.closed).error?.code).toBe('ERR_CHANNEL_ORDER');
  });

  it('can not be opened by acknowledging what was never sent', async () => {
    const { channel, link } = side('sender');
    const liar = new FakeLink();
    const events = { control() {}, arrived() {}, writable() {}, failed() {} };
    const connection = new Connection(liar, { crc32, role: 'receiver', window: WINDOW, events });
    connection.greeted({ sent: seedOf(crc32, session, 0, RoleNumber.receiver), received: 0 }, WINDOW);
    connection.sendControl({ kind: 'CREDIT', bytes: 1n });
    link.arrive(liar.bytes);
    expect((await channel.closed).error?.code).toBe('ERR_CHANNEL_MALFORMED');
  });
});

describe('several connections', () => {
  it('share the messages, which come in order however late one of them is', async () => {
    const [sender, receiver] = [side('sender', { links: 3 }), side('receiver', { links: 3 })];
    const got = collect(receiver.channel);
    await turn();
    for (let i = 0; i < 30; i += 1) sender.channel.send({ kind: 'DATA', device: i }, bytes(1000, i + 1));
    for (const link of sender.links) expect(link.written.length).toBeGreaterThan(5);
    for (const index of [2, 1, 0]) receiver.links[index]?.arrive(sender.links[index]?.bytes ?? bytes(0));
    expect(got.map(({ message }) => message)).toEqual(
      Array.from({ length: 30 }, (_, device) => ({ kind: 'DATA', device })),
    );
    expect(got.every(({ body }, i) => Buffer.compare(body, bytes(1000, i + 1)) === 0)).toBe(true);
  });

  it('fail together when one of them is cut, with the reason', async () => {
    const { channel, links } = side('receiver', { links: 3 });
    links[1]?.hangUp();
    expect((await channel.closed).error?.code).toBe('ERR_CHANNEL_CUT');
    expect(links.every(({ ended, destroyed }) => ended || destroyed)).toBe(true);
  });

  it('are not waited for when a message can never come', async () => {
    const receiver = side('receiver');
    const evil = forger();
    evil.send(messages.OPEN.number, new Uint8Array(), 2);
    receiver.link.arrive(evil.bytes);
    expect((await receiver.channel.closed).error?.code).toBe('ERR_CHANNEL_ORDER');
  });

  it('end in order', async () => {
    const [sender, receiver] = [side('sender', { links: 2 }), side('receiver', { links: 2 })];
    const got = collect(receiver.channel);
    await turn();
    for (let i = 0; i < 9; i += 1) sender.channel.send(data, bytes(100));
    const closed = sender.channel.close();
    carry(sender, receiver);
    expect(await closed).toEqual({ reason: 'closed', error: null });
    for (const link of receiver.links) link.hangUp();
    expect(await receiver.channel.closed).toEqual({ reason: 'closed', error: null });
    expect(got).toHaveLength(9);
  });
});

describe('the end', () => {
  it('brings what was sent by both sides before it', async () => {
    const [sender, receiver] = [side('sender'), side('receiver')];
    const there = collect(receiver.channel);
    const back = collect(sender.channel);
    await turn();
    sender.channel.send(data, bytes(10));
    receiver.channel.send(samples.OPENED.message);
    const closed = sender.channel.close();
    expect(code(() => sender.channel.send(data, bytes(10)))).toBe('ERR_CHANNEL_CLOSED');
    carry(sender, receiver);
    expect(await closed).toEqual({ reason: 'closed', error: null });
    expect([there.length, back.length]).toEqual([1, 1]);
    receiver.channel.abort('done');
  });

  it('waits for a handler that is busy', async () => {
    const [sender, receiver] = [side('sender'), side('receiver')];
    let free = (): void => {};
    receiver.channel.receive(() => new Promise((resolve) => (free = resolve)));
    await turn();
    sender.channel.send(data, bytes(10));
    void sender.channel.close();
    carry(sender, receiver);
    expect(await endOf(sender.channel)).toBeNull();
    free();
    await turn();
    carry(sender, receiver);
    expect(await sender.channel.closed).toEqual({ reason: 'closed', error: null });
    receiver.channel.abort('done');
  });

  it('is not waited for for ever', async () => {
    vi.useFakeTimers();
    const { channel } = side('sender', { silenceMs: 1e9, closeMs: 5e8 });
    const closed = channel.close();
    vi.advanceTimersByTime(2e9);
    vi.useRealTimers();
    expect((await closed).error?.code).toMatch(/ERR_CHANNEL_(TIMEOUT|SILENT)/);
  });

  it('carries the reason to the other side when one gives up', async () => {
    const [sender, receiver] = [side('sender'), side('receiver')];
    sender.channel.abort('the disk is full');
    carry(sender, receiver);
    const { error } = await receiver.channel.closed;
    expect(error).toMatchObject({
      code: 'ERR_CHANNEL_ABORTED',
      message: expect.stringContaining('the disk is full'),
    });
    expect(code(() => sender.channel.send(data))).toBe('ERR_CHANNEL_ABORTED');
  });

  it('comes when the handler fails, and the other side is told', async () => {
    const [sender, receiver] = [side('sender'), side('receiver')];
    receiver.channel.receive(() => {
      throw new Error('no such device');
    });
    await turn();
    sender.channel.send(data, bytes(10));
    carry(sender, receiver);
    expect((await receiver.channel.closed).error?.code).toBe('ERR_CHANNEL_HANDLER');
    expect((await sender.channel.closed).error?.message).toContain('no such device');
  });

  it.each([
    ['too few messages', 0n, 10n],
    ['too many bytes', 1n, 11n],
  ])('that counts %s is refused', async (_, count, total) => {
    const receiver = side('receiver');
    collect(receiver.channel);
    await turn();
    const evil = forger();
    evil.send(messages.SYNC.number, bytes(4), 1);
    const bye = new Uint8Array(16);
    new DataView(bye.buffer).setBigUint64(0, count, true);
    new DataView(bye.buffer).setBigUint64(8, total, true);
    evil.send(controlMessages.BYE.number, bye, 2);
    receiver.link.arrive(evil.bytes);
    expect((await receiver.channel.closed).error?.code).toBe('ERR_CHANNEL_ORDER');
  });
});

describe('a dead connection', () => {
  it('is noticed by silence', async () => {
    const { channel } = side('receiver', { silenceMs: 20 });
    expect((await channel.closed).error?.code).toBe('ERR_CHANNEL_SILENT');
  });

  it('is noticed when it takes nothing although the other side lives', async () => {
    const [sender, receiver] = [side('sender', { silenceMs: 40 }), side('receiver', { silenceMs: 40 })];
    sender.link.capacity = 10;
    sender.channel.send(data, bytes(100));
    let ended = false;
    void sender.channel.closed.then(() => (ended = true));
    while (!ended) {
      for (const piece of receiver.link.written.splice(0)) sender.link.arrive(piece);
      await turn();
    }
    expect((await sender.channel.closed).error?.code).toBe('ERR_CHANNEL_STALLED');
    receiver.channel.abort('done');
  });
});

describe('a link that takes a part', () => {
  it('gets the rest when it takes more, unchanged though the caller has reused its memory', async () => {
    const [sender, receiver] = [side('sender'), side('receiver')];
    const got = collect(receiver.channel);
    await turn();
    const body = Buffer.from(bytes(5000));
    for (const capacity of [0, 3, 35, 36, 37, 38, 100, 5037]) {
      sender.link.capacity = capacity;
      const room = sender.channel.send(data, body);
      expect(room).toBeInstanceOf(Promise);
      body.fill(0);
      for (let i = 0; i < 8; i += 1) {
        sender.link.capacity = i === 7 ? Number.POSITIVE_INFINITY : 1000;
        sender.link.writable();
      }
      carry(sender, receiver);
      await room;
      body.set(bytes(5000));
    }
    expect(got).toHaveLength(8);
    expect(got.every(({ body: one }) => Buffer.compare(one, bytes(5000)) === 0)).toBe(true);
  });
});

describe('compression', () => {
  const zeros = new Uint8Array(MAX_BODY);

  /** Carries until `count` messages have come. */
  async function until(sender: Side, receiver: Side, got: readonly unknown[], count: number): Promise<void> {
    while (got.length < count) {
      carry(sender, receiver);
      await turn();
    }
  }

  it('makes frames small and keeps their order', async () => {
    const [sender, receiver] = [side('sender', { compression: 'on' }), side('receiver')];
    const got = collect(receiver.channel);
    await turn();
    for (let i = 0; i < 12; i += 1) {
      sender.channel.send({ kind: 'DATA', device: i }, i % 3 === 0 ? bytes(1000, i + 1) : zeros);
    }
    sender.channel.send(samples.INITIAL.message);
    await until(sender, receiver, got, 13);
    expect(got.map(({ message }) => (message.kind === 'DATA' ? message.device : message.kind))).toEqual([
      ...Array.from({ length: 12 }, (_, i) => i),
      'INITIAL',
    ]);
    expect(got.slice(0, 12).every(({ body }, i) => body.length === (i % 3 === 0 ? 1000 : MAX_BODY))).toBe(
      true,
    );
    const { rawSent, wireSent } = sender.channel.statistics;
    expect(wireSent).toBeLessThan(rawSent / 50);
  });

  it('leaves what does not shrink as it is', async () => {
    const [sender, receiver] = [side('sender', { compression: 'on' }), side('receiver')];
    const got = collect(receiver.channel);
    await turn();
    sender.channel.send(data, bytes(10_000));
    await until(sender, receiver, got, 1);
    expect(sender.channel.statistics.wireSent).toBeGreaterThan(10_000);
  });

  const raw = (length: number): Uint8Array => new Uint8Array(deflateRawSync(new Uint8Array(length)));
  it.each<[string, Uint8Array, number]>([
    ['grows beyond what it says', raw(1_000_000), 5000],
    ['grows to less than it says', raw(5000), 5001],
    ['is no DEFLATE', bytes(500), 5000],
  ])('that %s is refused', async (_, payload, rawLength) => {
    const receiver = side('receiver');
    const got = collect(receiver.channel);
    await turn();
    const evil = forger();
    evil.send(messages.DATA.number, payload, 1, FrameFlag.DEFLATE, rawLength);
    receiver.link.arrive(evil.bytes);
    expect((await receiver.channel.closed).error?.code).toBe('ERR_CHANNEL_MALFORMED');
    expect(got).toHaveLength(0);
  });
});

it.each<[string, number, Uint8Array, number, number, number]>([
  ['an unknown kind', 77, bytes(0), 1, 0, 0],
  [
    'a greeting in the middle',
    controlMessages.HELLO.number,
    bytes(controlMessages.HELLO.fixed.size),
    0,
    0,
    -1,
  ],
  ['a kind that only the other side may send', messages.READY.number, bytes(24), 1, 0, 24],
  ['a length beyond its kind', messages.OPEN.number, bytes(1), 1, 0, 1],
  ['a raw length beyond its kind', messages.DATA.number, bytes(9), 1, FrameFlag.DEFLATE, 0xffff_ffff],
  ['two compressions', messages.DATA.number, bytes(9), 1, 3, 100],
  ['a sign of life with a place in the order', controlMessages.ALIVE.number, bytes(0), 1, 0, 0],
  ['a message without a place in the order', messages.OPEN.number, bytes(0), 0, 0, 0],
  ['a compressed goodbye', controlMessages.BYE.number, bytes(9), 1, FrameFlag.DEFLATE, 16],
])('refuses %s', async (_, kind, head, sequence, flags, rawLength) => {
  const receiver = side('receiver');
  const got = collect(receiver.channel);
  await turn();
  const evil = forger();
  evil.send(kind, head, sequence, flags, rawLength < 0 ? head.length : rawLength);
  receiver.link.arrive(evil.bytes);
  expect((await receiver.channel.closed).error?.code).toMatch(/^ERR_CHANNEL_(MALFORMED|ORDER)$/);
  expect(got).toHaveLength(0);
});

it('keeps to a rate that is changed while it runs', async () => {
  const [sender, receiver] = [side('sender'), side('receiver')];
  collect(receiver.channel);
  await turn();
  sender.channel.limitRate(2_000_000);
  const start = performance.now();
  for (let i = 0; i < 10; i += 1) {
    const room = sender.channel.send(data, bytes(20_000));
    carry(sender, receiver);
    await room;
  }
  expect(performance.now() - start).toBeGreaterThan(80);
  sender.channel.limitRate(1);
  const stuck = sender.channel.send(data, bytes(20_000));
  sender.channel.limitRate(null);
  await stuck;
  expect(sender.channel.send(data, bytes(20_000))).toBeNull();
});

it('refuses a caller that ignores back-pressure, before memory runs out', () => {
  const { channel, link } = side('sender');
  link.capacity = 0;
  const body = new Uint8Array(MAX_BODY);
  const sent = Array.from({ length: 70 }, () => code(() => void channel.send(data, body)));
  expect(sent.at(60)).toBe('no error');
  expect(sent.at(69)).toBe('ERR_CHANNEL_OVERRUN');
  channel.abort('done');
});

it('sends memory that others are writing to as it was at one instant', async () => {
  const [sender, receiver] = [side('sender'), side('receiver')];
  const got = collect(receiver.channel);
  await turn();
  const live = bytes(5000);
  // Somebody writes to it between the checksum and the sending.
  const write = sender.link.write.bind(sender.link);
  sender.link.write = (head, body) => {
    live.fill(0);
    return write(head, body);
  };
  sender.channel.send(samples.MEMORY.message, live);
  carry(sender, receiver);
  expect(got.map(({ body }) => body)).toEqual([bytes(5000)]);
});
