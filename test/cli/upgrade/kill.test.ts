import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fields, RawClient } from '../../helpers/raw-client.ts';
import { type Running, Shell } from '../ferry.ts';

/** All points of a hand-over, also those between which a process does nothing that anybody sees. */
const ALL = process.env['FERRY_HANDOVER'] === 'long';
/** A machine that has other things to do. */
const LONGEST = 180_000;
/** In milliseconds: no hand-over is given up because the machine has other things to do. */
const PATIENT = '120000';
const MODULE = fileURLToPath(new URL('./stop-at.js', import.meta.url));
const DATA = 0;
const LSR = 5;
const HOLDING_EMPTY = 0x20;

let line: ServedLine;
beforeEach(() => {
  line = new ServedLine();
});
afterEach(() => line.close());

/** A guest that sends over a serial line, with the server processes of its device. */
class ServedLine {
  readonly #shell = new Shell();
  readonly #points = this.#shell.path('points');
  readonly #stopAt = this.#shell.path('stop-at');
  #client: RawClient | null = null;
  #end: Socket | null = null;
  #received: number[] = [];
  #sent = 0;

  /** Starts the first process, and a client that is connected; also anew when the device is gone. */
  async begin(pauseLimit = PATIENT): Promise<Running> {
    this.#leave();
    for (const name of ['a.sock', 'a.sock.control', 'line']) rmSync(this.#shell.path(name), { force: true });
    const server = this.#serve('--socket-path', this.#shell.path('a.sock'), '--pause-limit', pauseLimit);
    await server.sees('listening');
    this.#client = await RawClient.open(this.#shell.path('a.sock'));
    this.#end = connect(this.#shell.path('line')).on('data', (bytes) => this.#received.push(...bytes));
    this.#received = [];
    this.#sent = 0;
    return server;
  }

  /** Starts a process that takes the device over. */
  takeOver(): Running {
    const taker = this.#serve('--take-over', this.#shell.path('a.sock'), '--pause-limit', PATIENT);
    // It may be killed.
    void taker.sees('listening').catch(() => {});
    return taker;
  }

  #serve(...args: readonly string[]): Running {
    const environment = { FERRY_POINTS: this.#points, FERRY_STOP_AT: this.#stopAt };
    return this.#shell.startWith(MODULE, environment, ['serve', 'serial', '--backend', 'unix:line', ...args]);
  }

  /** What both processes have come to so far, in the order of each; begins anew. */
  points(): readonly string[] {
    const points = readFileSync(this.#points, 'utf8').trimEnd().split('\n');
    rmSync(this.#points);
    return points;
  }

  /** Has whoever comes to a point stop there. */
  stopAt(point: string): void {
    rmSync(`${this.#stopAt}.reached`, { force: true });
    writeFileSync(this.#stopAt, point);
  }

  /** Waits until somebody has stopped, while the guest goes on. */
  async stopped(): Promise<void> {
    const deadline = Date.now() + LONGEST;
    while (!existsSync(`${this.#stopAt}.reached`)) {
      if (Date.now() > deadline) throw new Error(`nobody came to ${readFileSync(this.#stopAt, 'utf8')}`);
      await sleep(2);
    }
  }

  /** The guest asks whether there is room for a byte, which one process answers, and then sends one without asking. */
  async send(): Promise<void> {
    const client = this.#require();
    const id = client.post(9, fields(BigInt(LSR), 0, 1));
    const reply = await client.reply(id, LONGEST);
    expect(reply.error).toBe(0);
    expect((reply.payload[16] ?? 0) & HOLDING_EMPTY).toBe(HOLDING_EMPTY);
    client.post(10, fields(BigInt(DATA), 0, 1, Uint8Array.of(this.#sent & 0xff)), 0x10);
    this.#sent += 1;
  }

  /** Posts a question without waiting for the answer, as a guest does that is kept waiting. */
  ask(): Promise<number> {
    const client = this.#require();
    const id = client.post(9, fields(BigInt(LSR), 0, 1));
    return client.reply(id, LONGEST).then(
      ({ error }) => error,
      () => -1,
    );
  }

  /** Each byte that the guest has sent arrives at the other end of the line, once and in order. */
  async expectNothingLost(): Promise<void> {
    await this.send();
    const deadline = Date.now() + LONGEST;
    while (this.#received.length < this.#sent && Date.now() < deadline) await sleep(2);
    expect(this.#received).toEqual(Array.from({ length: this.#sent }, (_, i) => i & 0xff));
  }

  #require(): RawClient {
    if (this.#client === null) throw new Error('there is no client');
    return this.#client;
  }

  #leave(): void {
    this.#client?.close();
    this.#end?.destroy();
  }

  async close(): Promise<void> {
    this.#leave();
    await this.#shell.close();
  }
}

/** Who has the device when one of the two was killed at a point. */
type Owner = 'giver' | 'taker' | 'nobody';

/** A point of one of the two, and who has the device when it is killed there. */
interface Case {
  readonly point: string;
  readonly owner: Owner;
}

/**
 * The old process has the device until it has said all that the new one needs: who is killed with it takes the device
 * along, as without an upgrade. From then on it is the new one's if the old one dies.
 */
function giverCases(points: readonly string[]): readonly Case[] {
  const own = points.filter((point) => point.startsWith('giver '));
  const said = own.findLastIndex((point) => /^giver after [A-Z]/.test(point));
  expect(said).toBeGreaterThan(0);
  return own.map((point, i) => ({ point, owner: i < said ? 'nobody' : 'taker' }));
}

/** The new process has it once it has changed the word. */
function takerCases(points: readonly string[]): readonly Case[] {
  const own = points.filter((point) => point.startsWith('taker '));
  const taken = own.indexOf('taker after the device is TAKEN');
  expect(taken).toBeGreaterThan(0);
  return own.map((point, i) => ({ point, owner: i < taken ? 'giver' : 'nobody' }));
}

/** All; or those between which something can be seen, and of those at which the device is lost the first and the last. */
function chosen(cases: readonly Case[]): readonly Case[] {
  const lost = cases.filter(({ owner }) => owner === 'nobody');
  const ends = [lost[0], lost.at(-1), cases.at(-1)];
  return cases.filter(
    (one) => ALL || ends.includes(one) || (one.owner !== 'nobody' && / before /.test(one.point)),
  );
}

/** The points of a hand-over to which nothing happens. */
async function rehearse(): Promise<{ readonly points: readonly string[]; readonly owner: Running }> {
  const giver = await line.begin();
  await line.send();
  const taker = line.takeOver();
  expect(await giver.ended).toMatchObject({ status: 0, stderr: '' });
  await line.expectNothingLost();
  return { points: line.points(), owner: taker };
}

/** Kills whoever comes to the point; `owner` has the device before. Gives whoever has it then; null when nobody has. */
async function kill({ point, owner: expected }: Case, owner: Running): Promise<Running | null> {
  line.stopAt(point);
  const taker = line.takeOver();
  for (let i = 0; i < 3; i += 1) await line.send();
  const answered = line.ask();
  await line.stopped();
  const [victim, other] = point.startsWith('giver') ? [owner, taker] : [taker, owner];
  victim.process.kill('SIGKILL');
  expect(await victim.ended).toMatchObject({ signal: 'SIGKILL' });
  if (expected === 'nobody') {
    await other.ended;
    expect(await answered, 'nobody who has not the device answers').toBeOneOf([0, -1]);
    return null;
  }
  expect(await answered, point).toBe(0);
  await line.expectNothingLost();
  expect(other.process.exitCode, point).toBeNull();
  return other;
}

const LONG = { timeout: 600_000 };

describe('a hand-over of which one process is killed at any point', () => {
  it('points out when each of them does what', LONG, async () => {
    const { points } = await rehearse();
    const messages = (role: string): string =>
      points
        .flatMap((point) => new RegExp(`^${role} before (\\w+)`).exec(point)?.[1] ?? [])
        .filter((name) => /^[A-Z]/.test(name))
        .join(' ');
    expect(messages('giver')).toMatch(/^HELLO .*STATE\b/);
    expect(messages('taker')).toMatch(/^OK .*TAKEN$/);
  });

  it.each([
    ['the new one', takerCases],
    ['the old one', giverCases],
  ])('goes on where it has to when %s is killed', LONG, async (_who, cases) => {
    const { points, owner: first } = await rehearse();
    let owner: Running | null = first;
    for (const one of chosen(cases(points))) {
      owner ??= await line.begin();
      owner = await kill(one, owner);
    }
  });
});

describe('a hand-over of which one process stands still for a while', () => {
  it('is given up when the new one does, which gets nothing when it goes on', LONG, async () => {
    const giver = await line.begin('2000');
    line.stopAt('taker before the device is TAKEN');
    const taker = line.takeOver();
    await line.stopped();
    await line.expectNothingLost();
    taker.process.kill('SIGCONT');
    expect(await taker.ended).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('has gone on with its device'),
    });
    await line.expectNothingLost();
    expect(giver.process.exitCode).toBeNull();
  });

  it.each(['giver before STATE', 'taker before the device is TAKEN'])(
    'goes on with %s when that process does',
    LONG,
    async (point) => {
      const giver = await line.begin();
      line.stopAt(point);
      const taker = line.takeOver();
      await line.stopped();
      const answered = line.ask();
      (point.startsWith('giver') ? giver : taker).process.kill('SIGCONT');
      expect(await answered).toBe(0);
      expect(await giver.ended).toMatchObject({ status: 0, stderr: '' });
      await line.expectNothingLost();
      await taker.kill('SIGTERM');
    },
  );

  it('is the new one’s while the old one has yet to end', LONG, async () => {
    const giver = await line.begin();
    line.stopAt('giver before abandon');
    line.takeOver();
    await line.stopped();
    await line.expectNothingLost();
    giver.process.kill('SIGCONT');
    expect(await giver.ended).toMatchObject({ status: 0, stderr: '' });
    await line.expectNothingLost();
  });
});
