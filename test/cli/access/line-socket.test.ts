import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { askLine, LineSocket } from '../../../src/cli/access/line-socket.ts';

const IDLE_MS = 500;
const PATIENCE_MS = 60_000;

let folder: string;
let path: string;
let socket: LineSocket;

async function listen(answer: (line: string) => string | Promise<string>, idleMs?: number): Promise<void> {
  socket = new LineSocket(path, answer, idleMs);
  await socket.listen();
}

const ask = (request: string): Promise<unknown> =>
  askLine(path, request, PATIENCE_MS, (why) => new Error(why));

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-line-'));
  path = join(folder, 'socket');
});
afterEach(() => {
  socket.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("an operator's socket", () => {
  it('answers a line with a line', async () => {
    await listen((line) => JSON.stringify({ asked: line }));
    expect(await ask('how')).toEqual({ asked: 'how' });
  });

  it('keeps who waits for an answer that takes long', async () => {
    await listen(async () => {
      await sleep(3 * IDLE_MS);
      return '1';
    }, IDLE_MS);
    expect(await ask('wait')).toBe(1);
  });

  it('does not keep who says nothing', async () => {
    await listen(() => '1', IDLE_MS);
    const silent = connect(path);
    await new Promise<void>((resolve) => silent.on('close', () => resolve()).resume());
  });
});
