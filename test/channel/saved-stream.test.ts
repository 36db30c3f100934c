import { readdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type ChannelError,
  fileSink,
  fileSource,
  type Message,
  openedSource,
  readSaved,
  type SealKey,
  type Sink,
  type Source,
  saveTo,
  sealedSink,
  streamSink,
  streamSource,
} from '../../src/channel/index.ts';
import { SEAL_HEADER_SIZE, TAG_SIZE } from '../../src/channel/seal.ts';
import { temporaryFolder } from './carriers.ts';
import { MemorySink, memorySource } from './memory-file.ts';
import { bytes, epoch, group, samples } from './samples.ts';

/** Every byte of a stream takes some seconds of a processor that may have to be shared. */
const PATIENCE_MS = 240_000;

const items = [
  samples.MANIFEST,
  { ...samples.DATA, body: bytes(50, 1) },
  samples.ZERO,
  { ...samples.MEMORY, body: bytes(30, 2) },
  samples.COMPLETE,
];
const rawBytes = items.reduce((sum, { body }) => sum + (body?.length ?? 0), 0);

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder.remove());

async function save(sink: Sink, what = items): Promise<void> {
  const channel = saveTo(sink, { group, epoch });
  for (const { message, body } of what) await channel.send(message, body);
  expect(await channel.close()).toEqual({ reason: 'closed', error: null });
}

interface Got {
  readonly message: Message;
  readonly body: Uint8Array;
}

async function load(source: Source): Promise<Got[]> {
  const got: Got[] = [];
  await readSaved(source, (message, body) => {
    got.push({ message, body: body.slice() });
  });
  return got;
}

const expected = items.map(({ message, body }) => ({ message, body: body ?? new Uint8Array() }));

async function saved(key: SealKey | null = null): Promise<Uint8Array> {
  const sink = new MemorySink();
  await save(key === null ? sink : await sealedSink(sink, key));
  return sink.bytes;
}

const code = (action: Promise<unknown>): Promise<string> =>
  action.then(
    () => 'no error',
    (error: ChannelError) => error.code,
  );

it.each([undefined, 1, 7, 100])('comes back as it was saved, in pieces of any size (%s)', async (piece) => {
  expect(await load(memorySource(await saved(), piece))).toEqual(expected);
});

it('says what it is once it is verified, without a handler', async () => {
  const stored = await saved();
  const summary = await readSaved(memorySource(stored));
  expect(summary).toMatchObject({ group, epoch, messages: items.length, wireBytes: stored.length });
  expect(summary.rawBytes).toBeGreaterThan(rawBytes);
});

it('waits for the handler before it goes on', async () => {
  let running = 0;
  await readSaved(memorySource(await saved()), async () => {
    running += 1;
    expect(running).toBe(1);
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
  });
});

it('passes on what the handler throws', async () => {
  const failing = readSaved(memorySource(await saved()), () => {
    throw new Error('no space');
  });
  await expect(failing).rejects.toThrow('no space');
});

it('notices every single byte that was changed, and every end that is missing', {
  timeout: PATIENCE_MS,
}, async () => {
  const stored = await saved();
  const unnoticed: number[] = [];
  for (let at = 0; at < stored.length; at += 1) {
    const changed = stored.slice();
    changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
    const answers = [
      await code(load(memorySource(changed))),
      await code(load(memorySource(stored.subarray(0, at)))),
    ];
    if (!answers.every((answer) => answer.startsWith('ERR_CHANNEL_'))) unnoticed.push(at);
  }
  expect(unnoticed).toEqual([]);
});

it.each([
  ['a byte', (stored: Uint8Array) => Buffer.concat([stored, Buffer.of(0)])],
  ['itself', (stored: Uint8Array) => Buffer.concat([stored, stored])],
])('refuses a stream with %s after its end', async (_, more) => {
  const longer = new Uint8Array(more(await saved()));
  expect(await code(load(memorySource(longer)))).toMatch(/^ERR_CHANNEL_(ORDER|CHECKSUM|VERSION)$/);
  expect(await code(load(memorySource(longer, 1)))).toMatch(/^ERR_CHANNEL_(ORDER|CHECKSUM|VERSION)$/);
});

it('says of anything else that it is no channel', async () => {
  for (const text of ['#!/bin/sh\n', 'x'.repeat(1000), '\0'.repeat(1000)])
    expect(await code(load(memorySource(new TextEncoder().encode(text))))).toMatch(
      /^ERR_CHANNEL_(VERSION|CUT)$/,
    );
});

it('compresses where that was asked for', async () => {
  const sink = new MemorySink();
  const channel = saveTo(sink, { group, epoch, compression: 'on' });
  const body = new Uint8Array(1024 * 1024);
  for (let i = 0; i < 20; i += 1) await channel.send({ kind: 'DATA', device: i }, body);
  await channel.close();
  expect(sink.bytes.length).toBeLessThan(20 * 6000);
  const got = await load(memorySource(sink.bytes, 65536));
  expect(got.map(({ message }) => message)).toEqual(
    Array.from({ length: 20 }, (_, device) => ({ kind: 'DATA', device })),
  );
  expect(got.every(({ body: one }) => Buffer.compare(one, body) === 0)).toBe(true);
});

describe('a file', () => {
  it('appears only when it is whole, for its owner alone', async () => {
    const path = join(folder.path, 'whole');
    const channel = saveTo(await fileSink(path), { group, epoch });
    for (const { message, body } of items) await channel.send(message, body);
    await expect(stat(path)).rejects.toThrow('ENOENT');
    await channel.close();
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const source = await fileSource(path);
    await readSaved(source);
    source.rewind?.();
    expect(await load(source)).toEqual(expected);
    await source.close();
  });

  it('leaves nothing behind when saving is given up, and keeps what was there', async () => {
    const path = join(folder.path, 'kept');
    await writeFile(path, 'before');
    const before = await readdir(folder.path);
    const channel = saveTo(await fileSink(path), { group, epoch });
    await channel.send({ kind: 'DATA', device: 0 }, bytes(1000));
    channel.abort('enough');
    expect((await channel.closed).error?.code).toBe('ERR_CHANNEL_ABORTED');
    expect(await readdir(folder.path)).toEqual(before);
    expect(await readFile(path, 'utf8')).toBe('before');
  });

  it.each([
    ['a folder that is not there', 'missing/file'],
    ['a folder', '.'],
  ])('can not be %s', async (_, path) => {
    expect(await code(fileSink(join(folder.path, path)))).toBe('ERR_CHANNEL_FILE');
  });

  it('that can not be read is an error that names it', async () => {
    expect(await code(fileSource(join(folder.path, 'missing')))).toBe('ERR_CHANNEL_FILE');
  });

  it('that can not be written any more fails the channel with the reason, and is discarded', async () => {
    const sink = new MemorySink();
    sink.failure = new Error('no space left');
    const channel = saveTo(sink, { group, epoch });
    const { error } = await channel.closed;
    expect(error?.message).toContain('no space left');
    expect(sink.state).toBe('discarded');
  });
});

it('goes through a pipe', async () => {
  const pipe = new PassThrough();
  const loaded = load(streamSource(pipe, 'pipe'));
  await save(streamSink(pipe, 'pipe'));
  expect(await loaded).toEqual(expected);
});

it('fails when whoever reads the pipe has gone', async () => {
  const pipe = new PassThrough();
  const channel = saveTo(streamSink(pipe, 'pipe'), { group, epoch });
  pipe.destroy();
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setImmediate(resolve));
  expect((await channel.close()).error?.code).toMatch(/^ERR_CHANNEL_(FILE|CUT)$/);
});

describe('an encrypted stream', () => {
  const key: SealKey = { key: bytes(32, 7) };
  const passphrase: SealKey = { passphrase: 'correct horse' };
  const open = async (stored: Uint8Array, with_: SealKey | null, piece?: number): Promise<Got[]> =>
    load(await openedSource(memorySource(stored, piece), with_));

  it.each([
    ['a key file', key],
    ['a passphrase', passphrase],
  ])('comes back with %s', async (_, secret) => {
    const stored = await saved(secret);
    expect(await open(stored, secret)).toEqual(expected);
    expect(Buffer.from(stored).includes('edu')).toBe(false);
  });

  it('has many chunks and can be read twice', async () => {
    const sink = new MemorySink();
    const big = Array.from({ length: 3 }, (_, i) => ({
      message: samples.DATA.message,
      body: bytes(300_000, i + 1),
    }));
    await save(await sealedSink(sink, key), big);
    const source = await openedSource(memorySource(sink.bytes, 100_000), key);
    await readSaved(source);
    source.rewind?.();
    const got = await load(source);
    expect(got.map(({ body }, i) => Buffer.compare(body, big[i]?.body ?? bytes(0)))).toEqual([0, 0, 0]);
    // Cut exactly between two chunks: what is left is sound but for the mark of the last.
    for (const chunks of [1, 2, 3]) {
      const cut = sink.bytes.subarray(0, SEAL_HEADER_SIZE + chunks * (256 * 1024 + TAG_SIZE));
      expect(await code(open(cut, key))).toBe(chunks === 1 ? 'ERR_CHANNEL_KEY' : 'ERR_CHANNEL_CHECKSUM');
    }
  });

  it.each<[string, SealKey | null]>([
    ['another key', { key: bytes(32, 8) }],
    ['a passphrase instead of a key', passphrase],
    ['no key', null],
    ['a key that is too short', { key: bytes(31) }],
  ])('stays closed for %s', async (_, wrong) => {
    expect(await code(open(await saved(key), wrong))).toBe('ERR_CHANNEL_KEY');
  });

  it('stays closed for another passphrase', async () => {
    expect(await code(open(await saved(passphrase), { passphrase: 'wrong' }))).toBe('ERR_CHANNEL_KEY');
  });

  it('is not what a plain one is taken for', async () => {
    expect(await code(open(await saved(), key))).toBe('ERR_CHANNEL_KEY');
  });

  it('notices every single byte that was changed, and every end that is missing', {
    timeout: PATIENCE_MS,
  }, async () => {
    const stored = await saved(key);
    const unnoticed: number[] = [];
    for (let at = 0; at < stored.length; at += 1) {
      const changed = stored.slice();
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      const answers = [await code(open(changed, key)), await code(open(stored.subarray(0, at), key))];
      if (!answers.every((answer) => answer.startsWith('ERR_CHANNEL_'))) unnoticed.push(at);
    }
    expect(unnoticed).toEqual([]);
  });

  it('does not let a file demand any amount of memory for its key', async () => {
    const stored = await saved(passphrase);
    stored[11] = 30;
    expect(await code(open(stored, passphrase))).toBe('ERR_CHANNEL_MALFORMED');
  });
});
