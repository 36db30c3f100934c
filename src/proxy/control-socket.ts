import { rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { FerryError } from '../errors/index.ts';
import type { Closeable } from '../transport/index.ts';
import type { ProxyStatus } from './device-proxy.ts';
import { ProxyError } from './proxy-error.ts';
import type { SwapReport } from './swap.ts';

/** What can be asked on the control socket of a proxy, as a line of JSON. */
export type ProxyRequest =
  | { readonly do: 'status' }
  | { readonly do: 'swap'; readonly backend: string; readonly fresh: boolean };

/** What is answered, as a line of JSON. */
export type ProxyAnswer =
  | { readonly status: ProxyStatus }
  | { readonly swap: SwapReport | null }
  | {
      readonly error: {
        readonly code: string;
        readonly errno: number;
        readonly message: string;
        readonly context: object;
      };
    };

/** The part of a proxy that is steered. */
export interface SteeredProxy {
  status(): ProxyStatus;
  swap(path: string, fresh: boolean): Promise<SwapReport | null>;
}

/** No request is longer, in bytes: a path and a little. */
const MAX_LINE = 1024;
/** Whoever says nothing for so long is not waited for, in milliseconds. */
const IDLE_MS = 10_000;
const MAX_OPERATORS = 8;

/**
 * Lets the user that the proxy runs under steer it over a UNIX socket (mode 0600), a line of JSON each way.
 * @throws ProxyError ERR_PROXY_CONTROL when the path can't be used
 */
export async function listenForOperators(path: string, proxy: SteeredProxy): Promise<Closeable> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    attend(socket, proxy);
  });
  server.maxConnections = MAX_OPERATORS;
  // The socket is there with these rights from its first moment on.
  const mask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ProxyError('ERR_PROXY_CONTROL', `can't listen on ${path}: ${why}`, { path }, { cause: error });
  } finally {
    process.umask(mask);
  }
  return {
    close: () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      rmSync(path, { force: true });
    },
  };
}

function attend(socket: Socket, proxy: SteeredProxy): void {
  let text = '';
  socket.setEncoding('utf8').setTimeout(IDLE_MS, () => socket.destroy());
  socket.on('error', () => {});
  socket.on('data', (piece: string) => {
    const [line = '', ...rest] = (text + piece).split('\n');
    text = rest.length === 0 ? line : '';
    if (line.length > MAX_LINE || rest.length > 1) socket.destroy();
    else if (rest.length === 1) void answerTo(line, proxy).then((answer) => say(socket, answer));
  });
}

function say(socket: Socket, answer: ProxyAnswer): void {
  if (!socket.destroyed) socket.write(`${JSON.stringify(answer)}\n`);
}

async function answerTo(line: string, proxy: SteeredProxy): Promise<ProxyAnswer> {
  const request = readRequest(line);
  try {
    if (request === null) throw new ProxyError('ERR_PROXY_CONTROL', 'that is nothing that can be asked');
    if (request.do === 'status') return { status: proxy.status() };
    return { swap: await proxy.swap(request.backend, request.fresh) };
  } catch (error) {
    return { error: describe(error) };
  }
}

function describe(error: unknown) {
  if (error instanceof FerryError) {
    const { code, errno, message, context } = error;
    return { code, errno, message, context };
  }
  return { code: 'ERR_UNFORESEEN', errno: 5, message: String(error), context: {} };
}

/** Reads one line; null when it asks for nothing that there is. */
export function readRequest(line: string): ProxyRequest | null {
  const json = parsed(line);
  const what = member(json, 'do');
  if (what === 'status') return { do: what };
  const [backend, fresh] = [member(json, 'backend'), member(json, 'fresh') ?? false];
  if (what !== 'swap' || typeof backend !== 'string' || typeof fresh !== 'boolean') return null;
  return { do: what, backend, fresh };
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, name)?.value;
}
