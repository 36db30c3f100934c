import { expect, it } from 'vitest';
import { type Channel, type ChannelError, type Message, memoryPair } from '../../src/channel/index.ts';
import { bytes, epoch, group, samples } from './samples.ts';

const data: Message = { kind: 'DATA', device: 0 };

/** What a side gets, as one line each. */
function record(channel: Channel): string[] {
  const lines: string[] = [];
  channel.receive((message, body) => {
    lines.push(body.length === 0 ? message.kind : `${message.kind} ${body.length}`);
  });
  return lines;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function code(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    return (error as ChannelError).code;
  }
  return 'no error';
}

it('hands a body over within the call that sends it, without a copy', async () => {
  const { sender, receiver } = memoryPair({ group, epoch });
  let got: Uint8Array | null = null;
  receiver.receive((_, body) => {
    got = body;
  });
  const body = bytes(100);
  expect(sender.send(data, body)).toBeNull();
  expect(got).toBe(body);
});

it('delivers everything in order, in both directions', async () => {
  const { sender, receiver } = memoryPair({ group, epoch });
  const there = record(receiver);
  const back = record(sender);
  sender.send(samples.MANIFEST.message);
  sender.send(samples.OPEN.message);
  sender.send(data, bytes(10));
  receiver.send(samples.VERDICT.message);
  await turn();
  expect(there).toEqual(['MANIFEST', 'OPEN', 'DATA 10']);
  expect(back).toEqual(['VERDICT']);
});

it('keeps what arrives before there is a handler, and copies it', async () => {
  const { sender, receiver } = memoryPair({ group, epoch });
  const body = bytes(10);
  expect(sender.send(data, body)).toBeInstanceOf(Promise);
  body.fill(0);
  const bodies: Uint8Array[] = [];
  receiver.receive((_, got) => {
    bodies.push(got.slice());
  });
  await turn();
  expect(bodies).toEqual([bytes(10)]);
});

it('copies what waits, also when it is a Buffer, whose slice does not', async () => {
  const { sender, receiver } = memoryPair({ group, epoch });
  const body = Buffer.from(bytes(10));
  sender.send(data, body);
  body.fill(0);
  const bodies: Uint8Array[] = [];
  receiver.receive((_, got) => {
    bodies.push(got.slice());
  });
  await turn();
  sender.send(data, body.fill(7));
  body.fill(0);
  expect(bodies).toEqual([bytes(10), new Uint8Array(10).fill(7)]);
});

it('gives no object of one side to the other', async () => {
  const { sender, receiver } = memoryPair({ group, epoch });
  const manifest = { devices: [1, 2] };
  let got: unknown;
  receiver.receive((message) => {
    got = message;
  });
  sender.send({ kind: 'MANIFEST', manifest });
  manifest.devices.push(3);
  await turn();
  expect(got).toEqual({ kind: 'MANIFEST', manifest: { devices: [1, 2] } });
});

it('holds the sender back while the handler waits, and delivers nothing meanwhile', async () => {
  const { sender, receiver } = memoryPair({ group, epoch });
  let free = (): void => {};
  let calls = 0;
  receiver.receive(() => {
    calls += 1;
    return new Promise((resolve) => {
      free = resolve;
    });
  });
  const room = sender.send(data, bytes(10));
  sender.send(data, bytes(10));
  let waited = true;
  void room?.then(() => {
    waited = false;
  });
  await turn();
  expect([calls, waited]).toEqual([1, true]);
  free();
  await turn();
  expect([calls, waited]).toEqual([2, true]);
  free();
  await turn();
  expect(waited).toBe(false);
});

it('calls no handler from within a handler', async () => {
  const { sender, receiver } = memoryPair({ group, epoch });
  const order: string[] = [];
  receiver.receive(() => {
    order.push('in');
    receiver.send(samples.SYNCED.message);
    order.push('out');
  });
  sender.receive(() => {
    order.push('back');
  });
  sender.send(data, bytes(10));
  await turn();
  expect(order).toEqual(['in', 'out', 'back']);
});

it('closes in order on both sides, after everything was delivered', async () => {
  const { sender, receiver } = memoryPair({ group, epoch });
  const there = record(receiver);
  const back = record(sender);
  sender.send(samples.OPEN.message);
  const closed = sender.close();
  receiver.send(samples.OPENED.message);
  expect(await closed).toEqual({ reason: 'closed', error: null });
  expect(await receiver.closed).toEqual({ reason: 'closed', error: null });
  expect([there, back]).toEqual([['OPEN'], ['OPENED']]);
  expect(code(() => sender.send(samples.OPEN.message))).toBe('ERR_CHANNEL_CLOSED');
});

it('tells the other side why one gave up, and lets nobody wait for ever', async () => {
  const { sender, receiver } = memoryPair({ group, epoch });
  const room = sender.send(data, bytes(10));
  receiver.abort('the disk is full');
  await room;
  expect(await sender.closed).toMatchObject({
    reason: 'failed',
    error: { code: 'ERR_CHANNEL_ABORTED', message: 'the other side has given up: the disk is full' },
  });
  expect(code(() => sender.send(data, bytes(10)))).toBe('ERR_CHANNEL_ABORTED');
});

it('fails on both sides when it is cut', async () => {
  const { sender, receiver, cut } = memoryPair({ group, epoch });
  cut();
  for (const side of [sender, receiver])
    expect(await side.closed).toMatchObject({ error: { code: 'ERR_CHANNEL_CUT' } });
});

it.each([
  [
    'throws',
    () => {
      throw new Error('no space');
    },
  ],
  ['rejects', () => Promise.reject(new Error('no space'))],
])('fails when the handler %s', async (_, handler) => {
  const { sender, receiver } = memoryPair({ group, epoch });
  receiver.receive(handler);
  sender.send(data, bytes(10));
  expect(await receiver.closed).toMatchObject({ error: { code: 'ERR_CHANNEL_HANDLER' } });
  expect(await sender.closed).toMatchObject({ error: { code: 'ERR_CHANNEL_ABORTED' } });
});

it('refuses a sender that ignores back-pressure, before memory runs out', () => {
  const { sender } = memoryPair({ group, epoch });
  const body = new Uint8Array(1024 * 1024);
  const sent = Array.from({ length: 65 }, () => code(() => void sender.send(data, body)));
  expect(sent.at(63)).toBe('no error');
  expect(sent.at(64)).toBe('ERR_CHANNEL_OVERRUN');
});

it('keeps to a rate', async () => {
  const { sender, receiver } = memoryPair({ group, epoch });
  record(receiver);
  sender.limitRate(1_000_000);
  const start = performance.now();
  for (let i = 0; i < 10; i += 1) await sender.send(data, bytes(10_000));
  expect(performance.now() - start).toBeGreaterThan(85);
  sender.limitRate(null);
  expect(sender.send(data, bytes(10_000))).toBeNull();
});

it('counts', () => {
  const { sender, receiver } = memoryPair({ group, epoch });
  record(receiver);
  sender.send(data, bytes(100));
  expect(sender.statistics).toMatchObject({ framesSent: 1, rawSent: 102, queued: 0 });
  expect(receiver.statistics).toMatchObject({ framesReceived: 1, rawReceived: 102 });
});
