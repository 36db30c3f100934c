import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { SocketLine } from '../../../../src/cli/serve/backends/socket-line.ts';
import { loadNative } from '../../../../src/native/index.ts';
import { EventLoopReactor } from '../../../../src/transport/index.ts';
import { until } from '../../../helpers/until.ts';

const native = loadNative();
const reactor = new EventLoopReactor(native);

let folder: string;
let path: string;
let line: SocketLine;
const sockets: Socket[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ferry-line-'));
  path = join(folder, 'line');
  line = new SocketLine(native, reactor);
  line.listen(path);
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  line.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Other {
  readonly socket: Socket;
  text: string;
  over: boolean;
}

function plugIn(): Other {
  const socket = connect(path);
  sockets.push(socket);
  const other: Other = { socket, text: '', over: false };
  socket.on('data', (piece) => {
    other.text += piece.toString();
  });
  socket.on('close', () => {
    other.over = true;
  });
  socket.on('error', () => {});
  return other;
}

/** What the line brings, a FIFO at a time. */
function read(from = line): string {
  const target = new Uint8Array(16);
  return Buffer.from(target.subarray(0, from.read(target))).toString();
}

async function readAll(length: number, from = line): Promise<string> {
  let text = '';
  await until(() => {
    text += read(from);
    return text.length >= length;
  });
  return text;
}

it('loses what is sent while nobody is there', () => {
  expect(line.write(Buffer.from('lost'))).toBe(4);
  expect(read()).toBe('');
});

it('carries bytes both ways, as much as is asked for', async () => {
  const other = plugIn();
  other.socket.write('0123456789abcdef, and the rest');
  expect(await readAll(30)).toBe('0123456789abcdef, and the rest');
  line.write(Buffer.from('answer'));
  await until(() => other.text === 'answer');
});

it('is one line: a second one sees the connection end, and may come when the first has gone', async () => {
  const first = plugIn();
  first.socket.write('a');
  expect(await readAll(1)).toBe('a');
  const second = plugIn();
  await until(() => second.over);
  first.socket.end('b');
  expect(await readAll(1)).toBe('b');
  await until(() => first.over || read() === 'never');
  const third = plugIn();
  third.socket.write('c');
  expect(await readAll(1)).toBe('c');
});

it('leaves with the guest what the other does not take, and says when it may go on', async () => {
  const other = plugIn();
  other.socket.pause();
  other.socket.write('!');
  await readAll(1);
  let ready = 0;
  line.onReady(() => {
    ready += 1;
  });
  const piece = new Uint8Array(64 * 1024);
  let sent = 0;
  for (let taken = piece.length; taken === piece.length; sent += taken) taken = line.write(piece);
  expect(line.write(piece)).toBe(0);
  ready = 0;
  other.socket.resume();
  await until(() => ready > 0 && other.text.length === sent);
});

it('passes on to another one with what the guest has not taken, and loses nothing', async () => {
  const other = plugIn();
  other.socket.write('0123456789abcdef-unread');
  let text = '';
  await until(() => {
    text += read();
    return text !== '';
  });
  const { data, fds } = line.handOver();
  other.socket.write('-late');
  const next = new SocketLine(native, reactor);
  next.takeOver({ data, fds: fds.map((fd) => native.dup(fd)) });
  line.abandon();
  line = next;
  let rest = text;
  line.resume();
  rest += await readAll('0123456789abcdef-unread-late'.length - text.length);
  expect(rest).toBe('0123456789abcdef-unread-late');
  line.write(Buffer.from('from the next'));
  await until(() => other.text === 'from the next');
  other.socket.destroy();
  await until(() => other.over);
  // It listens on, at the same path.
  await until(() => read() === '');
  const third = plugIn();
  third.socket.write('x');
  expect(await readAll(1)).toBe('x');
});

it('goes on when it was not passed on after all', async () => {
  const other = plugIn();
  other.socket.write('a');
  expect(await readAll(1)).toBe('a');
  line.handOver();
  other.socket.write('b');
  line.resume();
  expect(await readAll(1)).toBe('b');
});
