import { closeSync, constants, openSync, readSync, statSync, writeFileSync, writeSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PseudoTerminal } from '../../../../src/cli/serve/backends/pseudo-terminal.ts';
import { loadNative } from '../../../../src/native/index.ts';
import { openFds } from '../../../helpers/open-fds.ts';

const WAIT = { timeout: 60_000, interval: 5 };

let sessions: Duplex[];
let terminal: PseudoTerminal;
let before: string[];
beforeEach(() => {
  before = openFds();
  sessions = [];
  terminal = new PseudoTerminal(loadNative(), (session) => sessions.push(session));
});
afterEach(() => {
  terminal.close();
  expect(openFds()).toEqual(before);
});

function open(): number {
  return openSync(terminal.path, constants.O_RDWR | constants.O_NOCTTY | constants.O_NONBLOCK);
}

/** The newest session, once there are so many. */
async function session(count: number): Promise<Duplex> {
  await vi.waitFor(() => expect(sessions).toHaveLength(count), WAIT);
  return sessions[count - 1] ?? expect.fail();
}

/** All that a session brings, to its end. */
async function contentOf(stream: Duplex): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

describe('PseudoTerminal', () => {
  it('is for its owner only, and has no session until somebody opens it', async () => {
    expect(statSync(terminal.path).mode & 0o777).toBe(0o600);
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(sessions).toHaveLength(0);
  });

  it('brings what each of several visitors leaves, however short they stay', async () => {
    for (const [i, text] of ['first', 'x'.repeat(3000), '\x03\x04\x11'].entries()) {
      writeFileSync(terminal.path, text);
      expect(await contentOf(await session(i + 1))).toBe(text);
    }
  });

  it('lets a visitor read and write as long as they stay', async () => {
    const slave = open();
    const stream = await session(1);
    stream.write('to the visitor\n');
    const into = Buffer.alloc(100);
    await vi.waitFor(
      () => expect(into.toString('utf8', 0, readSync(slave, into))).toBe('to the visitor\n'),
      WAIT,
    );
    for (const text of ['one', 'two']) {
      writeSync(slave, text);
      await vi.waitFor(() => expect(String(stream.read())).toBe(text), WAIT);
    }
    closeSync(slave);
    stream.resume();
    await vi.waitFor(() => expect(stream.closed).toBe(true), WAIT);
  });

  it('makes who sends wait for a visitor that reads nothing, but no longer than they stay', async () => {
    const slave = open();
    const stream = await session(1);
    let taken = 0;
    while (!stream.writableNeedDrain) stream.write(Buffer.alloc(1000), () => (taken += 1));
    while (stream.writableLength < 200_000) stream.write(Buffer.alloc(1000), () => (taken += 1));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(stream.writableLength).toBeGreaterThan(100_000);
    const before = taken;
    closeSync(slave);
    await vi.waitFor(() => expect(stream.writableLength).toBe(0), WAIT);
    expect(taken).toBeGreaterThan(before);
    stream.resume();
    await vi.waitFor(() => expect(stream.closed).toBe(true), WAIT);
    closeSync(open());
  });

  it('can be closed while somebody is there', async () => {
    const slave = open();
    const stream = await session(1);
    stream.resume();
    terminal.close();
    expect(stream.destroyed).toBe(true);
    expect(readSync(slave, Buffer.alloc(1)), 'the visitor sees a hang-up').toBe(0);
    closeSync(slave);
    terminal = new PseudoTerminal(loadNative(), () => {});
  });
});
