import { afterEach, expect, it } from 'vitest';
import type { FerryError } from '../../src/errors/index.ts';
import { Giver } from '../../src/handover/giver.ts';
import { Kind } from '../../src/handover/layout.ts';
import { HandoverLink } from '../../src/handover/link.ts';
import { Taker } from '../../src/handover/taker.ts';
import type { Takeover } from '../../src/handover/taker-parts.ts';
import { DeviceServer } from '../../src/server/index.ts';
import { EventLoopReactor } from '../../src/transport/index.ts';
import { RawClient } from '../helpers/raw-client.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { Cmd, native, readRegister, registerWrite, World } from './world.ts';

const SCRATCH = 0x04;
const reactor = new EventLoopReactor(native);

let world: World;
let taken: DeviceServer | null = null;
afterEach(() => {
  taken?.close();
  taken = null;
  world.close();
});

/** Between both processes: passes on so many messages, and then ends both conversations in the middle. */
class Wire {
  readonly giver: number;
  readonly taker: number;
  /** What went over it, as `>HELLO`. */
  readonly passed: string[] = [];
  readonly #links: HandoverLink[] = [];
  #left: number;

  constructor(messages: number) {
    this.#left = messages;
    const ends = [new Int32Array(2), new Int32Array(2)] as const;
    for (const end of ends) native.socketpair(end);
    [this.giver = -1] = ends[0];
    [this.taker = -1] = ends[1];
    for (const [i, end] of ends.entries()) {
      const link = new HandoverLink(native, reactor, end[1] ?? -1, {
        message: (kind, body, fds) => this.#pass(i, kind, body, fds),
        ended: () => this.cut(),
      });
      this.#links.push(link);
    }
  }

  cut(): void {
    for (const link of this.#links) link.close();
  }

  #pass(from: number, kind: number, body: Uint8Array, fds: readonly number[]): void {
    const name = Object.entries(Kind).find(([, number]) => number === kind)?.[0];
    if (this.#left > 0) {
      this.passed.push(`${from === 0 ? '>' : '<'}${name}`);
      this.#links[1 - from]?.send(kind, body.slice(), fds);
    }
    this.#left -= 1;
    for (const fd of fds) native.close(fd);
    // What was passed on last still arrives.
    if (this.#left <= 0) this.cut();
  }
}

/** Both processes, with a conversation that ends after so many messages; who has the device then. */
async function cutAfter(messages: number): Promise<{ kept: boolean; took: boolean; passed: string[] }> {
  world = new World(new TestDevice());
  const { server, listeners } = world.running;
  const client = await world.vmm();
  await client.request(Cmd.WRITE, registerWrite(SCRATCH, 5));
  const by = server.accept(connectedSocket(), 'control');
  const wire = new Wire(messages);
  const newServer = new DeviceServer(new TestDevice(), { native, reactor });
  const limits = { answerMs: 5000, frozenMs: 5000 };
  const rehearsed = Promise.resolve();
  const gave = new Promise<FerryError | null>((over) => {
    new Giver({ server, listeners, by, fd: wire.giver, limits, obstacle: null, rehearsed, over });
  });
  const took = await new Promise<Takeover | null>((resolve) => {
    const outcome = { resolve, reject: () => resolve(null) };
    const fdRoom = (): number => 1000;
    new Taker({ server: newServer, fd: wire.taker, answerMs: 5000, fdRoom, report: () => {} }, outcome);
  });
  const kept = (await gave) !== null;
  if (took !== null) taken = newServer;
  expect(await readRegister(client, SCRATCH), 'whoever has it serves the client').toBe(5);
  for (const { listener } of took?.listeners ?? []) listener.close();
  wire.cut();
  return { kept, took: took !== null, passed: wire.passed };
}

/** One end of a socket whose other end nobody has. */
function connectedSocket(): number {
  const pair = new Int32Array(2);
  native.socketpair(pair);
  world.track(new RawClient(pair[1] ?? -1));
  return pair[0] ?? -1;
}

const WHOLE = '>HELLO <OK >MAPS >MARK <ACK >DATA >MARK <ACK >STATE >RECORD >FDS >DATA <TAKEN';

it('passes on so many messages when nothing is cut', async () => {
  const { kept, took, passed } = await cutAfter(100);
  expect([kept, took]).toEqual([false, true]);
  expect(passed.filter((name, i) => name !== passed[i - 1]).join(' ')).toBe(WHOLE);
});

it.each(Array.from({ length: 15 }, (_, i) => i))(
  'leaves exactly one with the device when both are cut off after %i messages',
  async (messages) => {
    const { kept, took } = await cutAfter(messages);
    expect([kept, took].filter(Boolean)).toHaveLength(1);
  },
);
