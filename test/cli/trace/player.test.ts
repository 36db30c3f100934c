import { afterEach, beforeEach, expect, it } from 'vitest';
import { Player } from '../../../src/cli/trace/player.ts';
import { loadNative } from '../../../src/native/index.ts';
import { fdFactsOf } from '../../../src/relay/index.ts';
import { scriptOf, type TraceEvent } from '../../../src/trace/index.ts';
import { EventLoopReactor } from '../../../src/transport/index.ts';
import { openFds } from '../../helpers/open-fds.ts';
import { RawClient, rawMessage } from '../../helpers/raw-client.ts';
import { hex } from '../../protocol/support.ts';
import { messageEvent, whole } from '../../trace/support.ts';

const native = loadNative();
const MAP = hex('20000000 03000000 0000000000000000 0000100000000000 0000010000000000');
const ASKED = hex('0000100000000000 0400000000000000');
const READ = hex('0000000000000000 00000000 04000000');
const memory = { kind: 'memfd' as const, size: 65536n, identity: 5n };

/** A client that maps the same memory twice, reads a register, and is asked for its memory meanwhile. */
const EVENTS: readonly TraceEvent[] = [
  messageEvent('client', whole(2, false, MAP, 1), { time: 1n, fds: [memory] }),
  messageEvent('server', whole(2, true, Buffer.alloc(0), 1), { time: 2n }),
  messageEvent('client', whole(2, false, MAP, 2), { time: 3n, fds: [memory] }),
  messageEvent('server', whole(2, true, Buffer.alloc(0), 2), { time: 4n }),
  messageEvent('client', whole(9, false, READ, 3), { time: 5n }),
  messageEvent('server', whole(11, false, ASKED, 1), { time: 6n }),
  messageEvent('client', whole(11, true, Buffer.concat([ASKED, hex('0a0b0c0d')]), 1), { time: 7n }),
  messageEvent('server', whole(9, true, Buffer.concat([READ, hex('01020304')]), 3), { time: 8n }),
];

let before: string[];
beforeEach(() => {
  before = openFds();
});
afterEach(() => expect(openFds()).toEqual(before));

it('a player sends what was recorded with descriptors of the same kind, and answers as the recorded client did', async () => {
  const script = scriptOf(EVENTS, 1);
  if (script === null) throw new Error('no script');
  const ends = new Int32Array(2);
  native.socketpair(ends);
  const server = new RawClient(ends[1] ?? -1);
  const reactor = new EventLoopReactor(native);
  const player = new Player({ native, reactor, fd: ends[0] ?? -1, script, timeoutMs: 60_000 });
  const [first, second, read] = script.requests;
  if (first === undefined || second === undefined || read === undefined) throw new Error('no requests');

  const identities: bigint[] = [];
  for (const request of [first, second]) {
    const done = player.play(request);
    const got = await server.next();
    expect(Buffer.from(got.payload)).toEqual(Buffer.from(MAP));
    const facts = got.fds.map(fdFactsOf);
    expect(facts).toMatchObject([{ kind: 'memfd', size: 65536n }]);
    identities.push(...facts.map(({ identity }) => identity));
    for (const fd of got.fds) native.close(fd);
    server.send(rawMessage(got.id, 2, Buffer.alloc(0), 1));
    expect(await done).toMatchObject({ answer: { fds: 0 } });
  }
  expect(new Set(identities).size, 'what was one file is one file').toBe(1);

  const done = player.play(read);
  const got = await server.next();
  server.send(rawMessage(77, 11, ASKED));
  expect(Buffer.from((await server.reply(77)).payload.subarray(16)).toString('hex')).toBe('0a0b0c0d');
  server.send(rawMessage(78, 11, ASKED));
  expect((await server.reply(78)).error, 'it was asked only once then').toBe(22);
  server.send(rawMessage(got.id, 9, Buffer.concat([READ, hex('01020304')]), 1));
  expect(await done).toMatchObject({ answer: { bytes: { length: 36 } } });
  expect([player.unexpected, player.unasked]).toEqual([1, 0]);
  player.close();
  server.close();
});
