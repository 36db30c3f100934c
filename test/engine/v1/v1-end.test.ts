import { afterEach, describe, expect, it } from 'vitest';
import { type DeviceClient, V1Device } from '../../../src/client/index.ts';
import { deviceEnd, type MigrationEnd, V1End } from '../../../src/engine/index.ts';
import { Errno } from '../../../src/errors/index.ts';
import { MigrationState, stateName, V1_RULES } from '../../../src/states/index.ts';
import { Cleanup, connectFake, LIBVFIO_USER_JSON } from '../../client/fake-server.ts';
import { connectV1, V1Fake } from '../../client/v1-fake.ts';
import { fields } from '../../helpers/raw-client.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY, PRE_COPY_P2P, RUNNING_P2P, ERROR } = MigrationState;

const cleanup = new Cleanup();
afterEach(() => cleanup.run());

type Settings = Partial<Pick<V1Fake, 'pieces' | 'lies' | 'endless' | 'takes' | 'state' | 'size' | 'errno'>>;

async function open(settings: Settings = {}, options: ConstructorParameters<typeof V1End>[2] = {}) {
  const fake = Object.assign(new V1Fake(), settings);
  const client = await connectV1(cleanup, fake);
  const device = await V1Device.open(client);
  if (device === null) throw new Error('there is no migration region');
  fake.log.length = 0;
  return { fake, client, end: new V1End(client, device, options) };
}

/** A server that enforces published rules. */
function enforcing(id: string): Settings {
  const rules = V1_RULES.find((each) => each.id === id);
  if (rules === undefined) throw new RangeError(id);
  return { takes: (from, to) => rules.judge(from, to).verdict !== 'refused' };
}

const bytes = (length: number, seed = 1): Buffer =>
  Buffer.from(Array.from({ length }, (_, i) => (i * seed) % 251));

/** Reads until 0 or `count` chunks. */
async function readAll(
  end: MigrationEnd,
  maxBytes: number,
  count = Number.POSITIVE_INFINITY,
): Promise<Buffer[]> {
  const chunks: Buffer[] = [];
  while (chunks.length < count) {
    const length = await end.read(maxBytes, (chunk) => chunks.push(Buffer.from(chunk)));
    if (length === 0) return chunks;
    expect(chunks.at(-1)).toHaveLength(length);
  }
  return chunks;
}

const states = (fake: V1Fake): string[] =>
  fake.log.filter((entry) => entry.startsWith('write device_state')).map((entry) => entry.slice(19));

describe('a v1 device as an end', () => {
  it('has pre-copy, and no P2P, which v1 can not express', async () => {
    const { end, fake } = await open();
    expect(await end.flags()).toBe(5n);
    for (const state of [PRE_COPY_P2P, RUNNING_P2P, ERROR]) {
      await expect(end.setState(state)).rejects.toMatchObject({ code: 'ERR_V1_LACKS', errno: Errno.EINVAL });
    }
    expect(fake.log).toEqual([]);
  });

  it.each([
    [0b000, 'STOP'],
    [0b001, 'RUNNING'],
    [0b010, 'STOP_COPY'],
    [0b011, 'PRE_COPY'],
    [0b100, 'RESUMING'],
    [0b110, 'ERROR'],
    [0b101, 'unknown state 261'],
    [0b111, 'unknown state 263'],
  ])('in %i is in %s', async (state, name) => {
    const { end } = await open({ state });
    expect(stateName(await end.state())).toBe(name);
  });

  it('goes where it is sent, with one write each', async () => {
    const { end, fake } = await open();
    for (const state of [PRE_COPY, STOP_COPY, STOP, RESUMING, STOP, RUNNING]) {
      await end.setState(state);
      expect(await end.state()).toBe(state);
    }
    expect(states(fake)).toEqual(['0x3', '0x2', '0x0', '0x4', '0x0', '0x1']);
  });

  it('tells what is left while it saves, and nothing before', async () => {
    const { end } = await open({ pieces: [bytes(100), bytes(50)] });
    expect(await end.dataSize()).toBe(null);
    await end.setState(PRE_COPY);
    expect(await end.precopyInfo()).toEqual({ initialBytes: 0n, dirtyBytes: 150n });
    expect(await end.dataSize()).toBe(150n);
    await end.setState(STOP_COPY);
    expect(await end.dataSize()).toBe(150n);
    await readAll(end, 60, 1);
    expect(await end.dataSize()).toBe(90n);
  });

  it('does not pass on an estimate that can not be', async () => {
    const { end } = await open({ lies: { pending: 2n ** 64n - 1n }, state: 0b010 });
    expect(await end.dataSize()).toBe(null);
    expect(await end.precopyInfo()).toBe(null);
  });

  it('is reset, and seen to run', async () => {
    const { end, fake } = await open({ state: 0b110 });
    await end.reset();
    expect(fake.log).toContain('reset');
    expect(await end.state()).toBe(RUNNING);
  });
});

describe('what a v1 device saves', () => {
  it('comes piece by piece, each acknowledged before the next, in chunks of the size that is wanted', async () => {
    const { end, fake } = await open({ pieces: [bytes(10), bytes(25, 3)] });
    await end.setState(STOP_COPY);
    fake.log.length = 0;
    const chunks = await readAll(end, 10);
    expect(chunks.map(({ length }) => length)).toEqual([10, 10, 10, 5]);
    expect(Buffer.concat(chunks)).toEqual(Buffer.concat([bytes(10), bytes(25, 3)]));
    expect(fake.log).toEqual([
      ...['read pending_bytes', 'read data_offset', 'read data_size', 'read 10 bytes'],
      ...['read pending_bytes', 'read data_offset', 'read data_size', 'read 25 bytes'],
      'read pending_bytes',
    ]);
  });

  it('keeps its order when several reads are under way', async () => {
    const { end } = await open({ pieces: [bytes(10), bytes(20), bytes(30)], state: 0b010 });
    const chunks: number[] = [];
    const reads = Array.from({ length: 5 }, () => end.read(1000, ({ length }) => chunks.push(length)));
    expect(await Promise.all(reads)).toEqual([10, 20, 30, 0, 0]);
    expect(chunks).toEqual([10, 20, 30]);
  });

  it('is acknowledged before the state changes', async () => {
    const { end, fake } = await open({ pieces: [bytes(10), bytes(20)], state: 0b011 });
    await readAll(end, 100, 1);
    fake.log.length = 0;
    await end.setState(STOP_COPY);
    expect(fake.log[0]).toBe('read pending_bytes');
    expect(fake.pieces).toEqual([bytes(20)]);
  });

  it('goes on across the stop, the rest of a piece included', async () => {
    const { end } = await open({ pieces: [bytes(10), bytes(20)], state: 0b011 });
    const early = await readAll(end, 4, 1);
    await end.setState(STOP_COPY);
    expect(Buffer.concat([...early, ...(await readAll(end, 100))])).toEqual(
      Buffer.concat([bytes(10), bytes(20)]),
    );
  });

  it('of one session does not get into the next', async () => {
    const { end, fake } = await open({ pieces: [bytes(10)], state: 0b011 });
    await readAll(end, 4, 1);
    await end.setState(RUNNING);
    fake.pieces = [bytes(7, 5)];
    await end.setState(STOP_COPY);
    expect(Buffer.concat(await readAll(end, 100))).toEqual(bytes(7, 5));
  });

  it('has an end, or is an error: pieces without a byte, and data for ever', async () => {
    const empty = await open({ lies: { pending: 5n, size: 0n }, state: 0b010 });
    await expect(readAll(empty.end, 100)).rejects.toMatchObject({ code: 'ERR_V1_DATA' });
    const endless = await open({ endless: bytes(1000) }, { maxStopCopy: 10_000 });
    await endless.end.setState(PRE_COPY);
    await readAll(endless.end, 1000, 30);
    await endless.end.setState(STOP_COPY);
    await expect(readAll(endless.end, 1000)).rejects.toMatchObject({ code: 'ERR_V1_DATA' });
    await expect(readAll(endless.end, 1000)).rejects.toMatchObject({ code: 'ERR_V1_DATA' });
  });
});

describe('what a v1 device is given', () => {
  const resuming = async (settings: Settings = {}) => {
    const made = await open({ ...settings, state: 0b100 });
    return made;
  };

  it('is cut to what the data section holds', async () => {
    const { end, fake } = await resuming();
    await Promise.all([end.write(bytes(20_000)), end.write(bytes(5))]);
    expect(fake.received.map(({ length }) => length)).toEqual([8192, 8192, 3616, 5]);
    expect(Buffer.concat(fake.received)).toEqual(Buffer.concat([bytes(20_000), bytes(5)]));
  });

  it('may be reused by the caller when the call returns', async () => {
    const { end, fake } = await resuming();
    const buffer = bytes(100);
    const writing = end.write(buffer);
    buffer.fill(0xee);
    await writing;
    expect(fake.received).toEqual([bytes(100)]);
  });

  it('has no hole: after a failure nothing more is written', async () => {
    const { end, fake } = await resuming({ lies: { offset: 0n } });
    const outcomes = await Promise.allSettled([end.write(bytes(10)), end.write(bytes(20))]);
    expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    fake.lies = {};
    await expect(end.write(bytes(30))).rejects.toMatchObject({ code: 'ERR_V1_DATA' });
    await expect(end.setState(STOP)).rejects.toMatchObject({ code: 'ERR_V1_DATA' });
    expect(fake.received).toEqual([]);
    await end.reset();
    await end.setState(RESUMING);
    await end.write(bytes(30));
    expect(fake.received).toEqual([bytes(30)]);
  });
});

describe('between two v1 devices', () => {
  const pair = async (pieces: Buffer[], there: Settings = {}) => {
    const from = await open({ pieces });
    const to = await open(there, { source: from.end });
    return { from, to };
  };

  it('pieces keep their sizes, however they are cut on the way', async () => {
    const pieces = [bytes(100), bytes(1), bytes(777, 3), bytes(8192, 7)];
    const { from, to } = await pair([...pieces]);
    await from.end.setState(STOP_COPY);
    await to.end.setState(RESUMING);
    const state = Buffer.concat(await readAll(from.end, 64));
    for (let at = 0; at < state.length; at += 1000) await to.end.write(state.subarray(at, at + 1000));
    expect(to.fake.received).toEqual(pieces);
    await to.end.setState(STOP);
  });

  it('the destination does not stop before the last piece is whole', async () => {
    const { from, to } = await pair([bytes(100), bytes(200)]);
    await from.end.setState(STOP_COPY);
    await to.end.setState(RESUMING);
    const state = Buffer.concat(await readAll(from.end, 64));
    await to.end.write(state.subarray(0, 299));
    await expect(to.end.setState(STOP)).rejects.toMatchObject({ code: 'ERR_V1_DATA' });
    await expect(to.end.setState(RUNNING)).rejects.toMatchObject({ code: 'ERR_V1_DATA' });
    await to.end.write(state.subarray(299));
    await to.end.setState(STOP);
    expect(to.fake.received.map(({ length }) => length)).toEqual([100, 200]);
  });

  it('how long pieces can be is told before anything is done', async () => {
    const { from, to } = await pair([], { size: 4096n + 4096n });
    expect(await from.end.inspect()).toMatchObject({ busy: null, largestPiece: 12256 });
    expect(await to.end.inspect()).toMatchObject({ busy: null, largestPiece: 8160 });
  });

  it('the migration region itself need not be the same', async () => {
    const { from, to } = await pair([], { size: 2n ** 20n });
    const { identity, busy } = await to.end.inspect();
    expect(busy).toBe(null);
    expect(Object.keys(identity ?? {})).not.toContain('the size of region 9');
    expect(identity).toEqual((await from.end.inspect()).identity);
  });
});

describe('a server that does not take every change', () => {
  it.each(V1_RULES.map(({ id }) => id))('is got through a whole move by other ways: %s', async (id) => {
    const from = await open({ ...enforcing(id), pieces: [bytes(10)] });
    const to = await open(enforcing(id), { source: from.end });
    await from.end.setState(PRE_COPY);
    await to.end.setState(RESUMING);
    await from.end.setState(STOP_COPY);
    for (const chunk of await readAll(from.end, 100)) await to.end.write(chunk);
    await to.end.setState(STOP);
    expect(await to.end.state()).toBe(STOP);
    await from.end.setState(STOP);
    await to.end.setState(RUNNING);
    expect([await from.end.state(), await to.end.state()]).toEqual([STOP, RUNNING]);
    expect(to.fake.received).toEqual([bytes(10)]);
  });

  it.each(V1_RULES.map(({ id }) => id))('is brought back to running from where it saves: %s', async (id) => {
    for (const saving of [PRE_COPY, STOP_COPY]) {
      const { end } = await open(enforcing(id));
      await end.setState(saving);
      await end.setState(RUNNING);
      expect(await end.state()).toBe(RUNNING);
    }
  });

  it('that can not go from resuming to stopped stays where it is, takes no more, and then runs', async () => {
    const { end, fake } = await open(enforcing('v1-libvfio-user'));
    await end.setState(RESUMING);
    await end.write(bytes(10));
    await end.setState(STOP);
    expect([await end.state(), fake.state]).toEqual([STOP, 0b100]);
    await end.setState(STOP);
    await expect(end.write(bytes(10))).rejects.toMatchObject({ code: 'ERR_V1_DATA' });
    await end.setState(RUNNING);
    expect([await end.state(), fake.state]).toEqual([RUNNING, 0b001]);
  });

  it('is never run to get it somewhere else, and what was loaded is not thrown away for a detour', async () => {
    const stopped = await open({ state: 0b000, takes: () => false });
    await expect(stopped.end.setState(RESUMING)).rejects.toMatchObject({ code: 'ERR_V1_STATE' });
    await expect(stopped.end.setState(STOP_COPY)).rejects.toMatchObject({ code: 'ERR_V1_STATE' });
    expect(states(stopped.fake)).not.toContain('0x1');
    const loaded = await open({ state: 0b100, takes: (_, to) => to !== 0b001 });
    await expect(loaded.end.setState(RUNNING)).rejects.toMatchObject({ code: 'ERR_V1_STATE' });
    expect(states(loaded.fake)).toEqual(['0x1']);
  });

  it('is not asked again in another way after anything but EINVAL', async () => {
    const { end, fake } = await open({ takes: () => false, errno: Errno.EIO });
    await expect(end.setState(STOP)).rejects.toMatchObject({ errno: Errno.EIO });
    expect(states(fake)).toEqual(['0x0']);
  });
});

describe('which interface a server speaks', () => {
  const flags = fields(16, 0x1_0001, 7n);

  it('is found out by asking: v2 where it answers, else v1 where there is a region', async () => {
    const { client } = await open();
    expect(await deviceEnd(client)).toBeInstanceOf(V1End);
  });

  it('is v2 when the server speaks both, or neither', async () => {
    const answering = async (answer: (command: number) => Buffer | null): Promise<DeviceClient> => {
      const { client, server } = await connectFake(cleanup, LIBVFIO_USER_JSON);
      void (async () => {
        for (;;) {
          const message = await server.next();
          const reply = answer(message.command);
          if (reply === null) server.refuse(message, Errno.EINVAL);
          else server.answer(message, reply);
        }
      })().catch(() => {});
      return client;
    };
    const v2 = await deviceEnd(await answering((command) => (command === 16 ? flags : null)));
    expect(v2).not.toBeInstanceOf(V1End);
    expect(await v2.flags()).toBe(7n);
    const neither = await deviceEnd(
      await answering((command) => (command === 4 ? fields(16, 3, 9, 5) : null)),
    );
    expect(await neither.flags()).toBe(null);
  });
});
