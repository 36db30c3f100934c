import { afterEach, describe, expect, it } from 'vitest';
import { Kind, StateHead } from '../../src/handover/layout.ts';
import { HandoverLink } from '../../src/handover/link.ts';
import { decodeHello, decodeRefusal, encodeAccept, encodeRefusal } from '../../src/handover/messages.ts';
import { Verdict, VerdictWord } from '../../src/handover/verdict.ts';
import { EventLoopReactor } from '../../src/transport/index.ts';
import { fields, RawClient, rawMessage } from '../helpers/raw-client.ts';
import { TestDevice } from '../helpers/test-device.ts';
import { until } from '../helpers/until.ts';
import { Cmd, native, readRegister, registerWrite, World } from './world.ts';

const SCRATCH = 0x04;
const VERSION = '{"capabilities": {"max_msg_fds": 8, "ferry": {"handover": true}}}';
const reactor = new EventLoopReactor(native);

let world: World;
let taker: ByHand | null = null;
afterEach(() => {
  taker?.die();
  taker = null;
  world.close();
});

interface Message {
  readonly kind: number;
  readonly body: Uint8Array;
  readonly fds: readonly number[];
}

/** The process that is to take over, whose messages a test sends by hand. */
class ByHand {
  readonly messages: Message[] = [];
  word: VerdictWord | null = null;
  ended = false;
  readonly #link: HandoverLink;
  readonly #control: RawClient;

  private constructor(fd: number, control: RawClient) {
    this.#control = control;
    this.#link = new HandoverLink(native, reactor, fd, {
      message: (kind, body, fds) => {
        if (kind === Kind.HELLO) this.word = VerdictWord.open(native, fds[0] ?? -1);
        this.messages.push({ kind, body: body.slice(), fds: kind === Kind.HELLO ? [] : fds });
        if (kind === Kind.MARK) this.say(Kind.ACK, fields(0));
      },
      ended: () => {
        this.ended = true;
      },
    });
  }

  static async knock(): Promise<ByHand> {
    const control = await RawClient.open(world.controlPath, VERSION);
    const { error, fds } = await control.request(0xfe06, fields(8, 0));
    if (error !== 0) throw new Error(`refused: ${error}`);
    taker = new ByHand(native.dup(fds[0] ?? -1), control);
    // The client's own copy goes with it.
    native.close(fds[0] ?? -1);
    return taker;
  }

  say(kind: number, body: Uint8Array = new Uint8Array(0)): void {
    this.#link.send(kind, body);
  }

  async hears(kind: number): Promise<Message> {
    await until(() => this.ended || this.messages.some((message) => message.kind === kind));
    const found = this.messages.find((message) => message.kind === kind);
    if (found === undefined) throw new Error(`the other has gone without message ${kind}`);
    return found;
  }

  /** Everything of the state and the record is here. */
  async hearsAll(): Promise<void> {
    const { body } = await this.hears(Kind.STATE);
    const { dataLength, fds } = StateHead.read(new DataView(body.buffer), 0);
    const data = (): number =>
      this.messages.reduce((sum, { kind, body: piece }) => sum + (kind === Kind.DATA ? piece.length : 0), 0);
    const count = (): number =>
      this.messages.reduce((sum, { kind, fds: some }) => sum + (kind === Kind.FDS ? some.length : 0), 0);
    await until(() => BigInt(data()) === dataLength && count() === fds);
  }

  /** As a process that is killed. */
  die(): void {
    for (const { fds } of this.messages.splice(0)) for (const fd of fds) native.close(fd);
    this.#link.close();
    this.word?.close();
    this.word = null;
    this.#control.close();
  }
}

async function connected(limits = {}): Promise<RawClient> {
  world = new World(new TestDevice(), {}, limits);
  const client = await world.vmm();
  await client.request(Cmd.WRITE, registerWrite(SCRATCH, 5));
  return client;
}

async function expectGoesOn(client: RawClient, why: RegExp): Promise<void> {
  await expectKept(client, why);
  await world.handOver(new TestDevice());
  expect(await readRegister(client, SCRATCH)).toBe(5);
}

async function expectKept(client: RawClient, why: RegExp): Promise<void> {
  await until(() => world.kept.length === 1);
  expect(world.kept[0]?.message).toMatch(why);
  expect(await readRegister(client, SCRATCH)).toBe(5);
  expect(world.reported).toEqual([]);
}

describe('the process that has the device goes on', () => {
  it('when the new one dies before it has said anything', async () => {
    const client = await connected();
    (await ByHand.knock()).die();
    await expectGoesOn(client, /has ended/);
  });

  it('when the new one refuses, and is told nothing more', async () => {
    const client = await connected();
    const other = await ByHand.knock();
    const { pid, identity } = decodeHello((await other.hears(Kind.HELLO)).body);
    expect([pid, identity.kind]).toEqual([process.pid, 'test']);
    other.say(Kind.NO, encodeRefusal(95, 'not to my taste'));
    await until(() => other.ended);
    expect(other.word?.value).toBe(Verdict.KEPT);
    await expectGoesOn(client, /not to my taste/);
  });

  it('when the new one never answers', async () => {
    const client = await connected({ answerMs: 50 });
    const other = await ByHand.knock();
    expect(decodeRefusal((await other.hears(Kind.NO)).body).text).toMatch(/does not answer within 50 ms/);
    await expectKept(client, /does not answer/);
  });

  it('when the new one dies with the whole state', async () => {
    const client = await connected();
    const other = await ByHand.knock();
    await other.hears(Kind.HELLO);
    other.say(Kind.OK, encodeAccept());
    await other.hearsAll();
    const waiting = readRegister(client, SCRATCH);
    other.die();
    expect(await waiting).toBe(5);
    await expectGoesOn(client, /has ended/);
  });

  it('when the new one has the whole state and does not take it in time; then it is too late', async () => {
    const client = await connected({ frozenMs: 60 });
    const other = await ByHand.knock();
    await other.hears(Kind.HELLO);
    other.say(Kind.OK, encodeAccept());
    await other.hearsAll();
    await other.hears(Kind.NO);
    expect(other.word?.value).toBe(Verdict.KEPT);
    expect(other.word?.change(Verdict.OPEN, Verdict.TAKEN), 'who wakes up late does not get it').toBe(false);
    await expectKept(client, /did not take the device within 60 ms/);
  });

  it('when the new one says what has no place there', async () => {
    const client = await connected();
    const other = await ByHand.knock();
    await other.hears(Kind.HELLO);
    other.say(Kind.TAKEN);
    await expectGoesOn(client, /says taken when that has no place/);
  });

  it('when the new one talks nonsense', async () => {
    const client = await connected();
    const other = await ByHand.knock();
    await other.hears(Kind.HELLO);
    other.say(99);
    await expectGoesOn(client, /has ended|sent message 99/);
  });
});

it('is served while its DMA is waited for, and stays when that does not end', async () => {
  const client = await connected({ restMs: 50 });
  await client.request(Cmd.DMA_MAP, fields(32, 3, 0n, 0x5000n, 4096n));
  client.post(Cmd.WRITE, registerWrite(0x0c, 0x5000));
  client.post(Cmd.WRITE, registerWrite(0x10, 8));
  const asked = await client.next(({ command }) => command === 11);
  const refused = world.handOver(new TestDevice()).catch((error: unknown) => error);
  await until(() => world.running.server.migration.inTransition);
  expect(await readRegister(client, SCRATCH), 'while it is waited for').toBe(5);
  // The client answers at last; the time is over long since.
  await until(() => world.running.server.migration.state !== 2);
  await new Promise((wake) => setTimeout(wake, 100));
  client.send(rawMessage(asked.id, 11, Buffer.concat([asked.payload, Buffer.alloc(8, 1)]), 1));
  expect(await refused).toMatchObject({ code: 'ERR_HANDOVER_REFUSED' });
  expect(await readRegister(client, SCRATCH)).toBe(5);
  await until(() => world.running.server.migration.state === 2);
});

describe('the process that had the device lets go of it', () => {
  it('when the new one has taken it, however that one ends then', async () => {
    const client = await connected();
    const other = await ByHand.knock();
    await other.hears(Kind.HELLO);
    other.say(Kind.OK, encodeAccept());
    await other.hearsAll();
    expect(other.word?.change(Verdict.OPEN, Verdict.TAKEN)).toBe(true);
    other.die();
    await world.handedOver;
    expect(world.kept).toEqual([]);
    // Nobody has the client's connection any more: the one that had taken it is dead.
    await client.waitClosed();
  });

  it('when the new one has taken it, also if that one does not get to say so', async () => {
    await connected({ frozenMs: 60 });
    const other = await ByHand.knock();
    await other.hears(Kind.HELLO);
    // Before everything is here, so that no time limit can be faster.
    expect(other.word?.change(Verdict.OPEN, Verdict.TAKEN)).toBe(true);
    other.say(Kind.OK, encodeAccept());
    await world.handedOver;
    expect(world.kept).toEqual([]);
  });
});

it('tells a second one that asks that a hand-over is under way', async () => {
  await connected();
  await ByHand.knock();
  const control = world.track(await RawClient.open(world.controlPath, VERSION));
  expect((await control.request(0xfe06, fields(8, 0))).error).toBe(16);
});

it('begins anew when the device is reset while it is copied', async () => {
  const client = await connected();
  const other = await ByHand.knock();
  await other.hears(Kind.HELLO);
  // The answer and the reset come in the same turn; the state is read when the new process takes it.
  client.post(Cmd.RESET);
  other.say(Kind.OK, encodeAccept());
  await until(() => other.messages.some(({ kind }) => kind === Kind.STATE || kind === Kind.AGAIN));
  if (other.messages.some(({ kind }) => kind === Kind.AGAIN)) other.say(Kind.OK, encodeAccept());
  await other.hearsAll();
  other.die();
  await until(() => world.kept.length === 1);
  expect(await readRegister(client, SCRATCH)).toBe(0);
});

it('begins anew with a process that loads it, and leaves out again what clients have mapped', async () => {
  const client = await connected();
  const { server } = world.running;
  const resets = server.migration.resets;
  const setState = server.setState.bind(server);
  // The guest resets the device when its state is about to be copied.
  server.setState = (target, by) => {
    server.setState = setState;
    const pending = setState(target, by);
    if (server.main !== null) void server.reset(server.main);
    return pending;
  };
  await world.handOver(new TestDevice());
  expect(server.migration.resets).toBeGreaterThan(resets);
  expect(await readRegister(client, SCRATCH)).toBe(0);
  expect(world.kept).toEqual([]);
});

it('asks for no more descriptors than a message carries, and waits for each piece to be acknowledged', async () => {
  const client = await connected();
  const maps = 300;
  const fds: number[] = [];
  for (let i = 0; i < maps; i += 1) {
    const fd = native.memfd(`guest-${i}`, 4096, true);
    fds.push(fd);
    const map = fields(32, 3, 0n, BigInt(i) * 0x10000n, 4096n);
    expect((await client.request(Cmd.DMA_MAP, map, [fd])).error).toBe(0);
  }
  const other = await ByHand.knock();
  await other.hears(Kind.HELLO);
  other.say(Kind.OK, encodeAccept());
  const first = await other.hears(Kind.FDS);
  expect(first.fds).toHaveLength(253);
  other.say(Kind.ACK, fields(253));
  await other.hearsAll();
  other.die();
  await until(() => world.kept.length === 1);
  await world.handOver(new TestDevice());
  expect(world.running.server.memory.mapCount).toBe(maps);
  for (const fd of fds) native.close(fd);
});
