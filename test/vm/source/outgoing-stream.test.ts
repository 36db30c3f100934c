import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { OutgoingStream } from '../../../src/vm/source/outgoing-stream.ts';

const PATIENCE = 20_000;
const MiB = 2 ** 20;

const undo: (() => void)[] = [];
afterEach(() => {
  for (const each of undo.splice(0).reverse()) each();
});

/** A stream, and what QEMU would be. */
function open(): { stream: OutgoingStream; sender: Socket } {
  const folder = mkdtempSync(join(tmpdir(), 'ferry-out-'));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  const stream = new OutgoingStream(folder);
  undo.push(() => stream.close());
  const sender = connect(stream.path);
  sender.on('error', () => {});
  undo.push(() => sender.destroy());
  return { stream, sender };
}

/** Takes everything, in pieces of at most `most` bytes, until the end. */
async function takeAll(stream: OutgoingStream, most: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (let piece = await stream.take(most, PATIENCE); piece !== null; ) {
    expect(piece.length).toBeLessThanOrEqual(most);
    parts.push(Buffer.from(piece));
    piece = await stream.take(most, PATIENCE);
  }
  return Buffer.concat(parts);
}

/** Bytes that tell where they stand. */
function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at + 4 <= length; at += 4) bytes.writeUInt32LE(at, at);
  return bytes;
}

describe('what QEMU sends', () => {
  it.each([
    ['small pieces', 1000, MiB / 4],
    ['large pieces', MiB, 20 * MiB],
  ])('is taken as it was sent, in %s, until it hangs up', async (_, most, length) => {
    const { stream, sender } = open();
    const sent = pattern(length);
    sender.end(sent);
    expect((await takeAll(stream, most)).equals(sent)).toBe(true);
    expect(stream.ended).toBe(true);
    expect(stream.waiting).toBe(0);
  });

  it('is not read further ahead than is useful, and is when it is to come to an end', async () => {
    const { stream, sender } = open();
    const sent = pattern(24 * MiB);
    sender.end(sent);
    const first = Buffer.from((await stream.take(MiB, PATIENCE)) ?? []);
    // Nobody takes any more: QEMU's socket fills up.
    while (stream.waiting < 8 * MiB) await new Promise(setImmediate);
    for (let i = 0; i < 50; i += 1) await new Promise(setImmediate);
    expect(stream.waiting).toBeLessThan(9 * MiB);
    stream.hurry();
    while (!stream.ended) await new Promise(setImmediate);
    expect(stream.waiting).toBe(sent.length - first.length);
    expect(Buffer.concat([first, await takeAll(stream, MiB)]).equals(sent)).toBe(true);
  });

  it('is hardly read ahead when the VM is about to stop', async () => {
    const { stream, sender } = open();
    const sent = pattern(4 * MiB);
    sender.end(sent);
    const first = Buffer.from((await stream.take(1, PATIENCE)) ?? []);
    stream.hold();
    for (let i = 0; i < 50; i += 1) await new Promise(setImmediate);
    expect(stream.waiting).toBeLessThan(MiB);
    stream.hurry();
    while (!stream.ended) await new Promise(setImmediate);
    expect(Buffer.concat([first, await takeAll(stream, MiB)]).equals(sent)).toBe(true);
  });

  it('is waited for no longer than is said', async () => {
    const { stream } = open();
    expect(await stream.take(MiB, 1)).toBeNull();
    expect(stream.ended).toBe(false);
  });

  it('may come from another account, which only the directory keeps out', () => {
    expect(statSync(open().stream.path).mode & 0o666).toBe(0o666);
  });

  it('comes once', async () => {
    const { stream, sender } = open();
    sender.write('a');
    expect(await stream.take(MiB, PATIENCE)).toEqual(Buffer.from('a'));
    const refused = await new Promise((resolve) => connect(stream.path).on('error', resolve));
    expect(refused).toMatchObject({ code: 'ECONNREFUSED' });
  });
});
