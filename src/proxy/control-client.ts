import { connect } from 'node:net';
import { Errno, FerryError } from '../errors/index.ts';
import type { ProxyRequest } from './control-socket.ts';
import { ProxyError } from './proxy-error.ts';

/** How long an answer may take, in milliseconds: longer than a swap may. */
const PATIENCE_MS = 30_000;
/** No answer is longer, in bytes. */
const MAX_ANSWER = 64 * 1024;

/**
 * Asks a proxy over its control socket; returns what it has answered, as JSON.
 * @throws FerryError with the code, errno and context of the proxy's error; ProxyError ERR_PROXY_CONTROL without an answer
 */
export async function askProxy(path: string, request: ProxyRequest): Promise<unknown> {
  const answer = await exchange(path, request);
  const error = member(answer, 'error');
  if (error !== undefined) throw errorOf(error);
  return answer;
}

function exchange(path: string, request: ProxyRequest): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = '';
    const fail = (why: string): void => {
      socket.destroy();
      const message = `the proxy does not answer on ${path}: ${why}`;
      reject(new ProxyError('ERR_PROXY_CONTROL', message, { path }, { errno: Errno.ECONNREFUSED }));
    };
    socket.setEncoding('utf8').setTimeout(PATIENCE_MS, () => fail(`nothing came for ${PATIENCE_MS} ms`));
    socket.on('error', (error) => fail(error.message));
    socket.on('close', () => fail('it hung up'));
    socket.on('data', (piece: string) => {
      text += piece;
      if (text.length > MAX_ANSWER) return fail('it says too much');
      if (!text.endsWith('\n')) return;
      try {
        resolve(JSON.parse(text));
      } catch (error) {
        return fail(String(error));
      }
      socket.destroy();
    });
    socket.write(`${JSON.stringify(request)}\n`);
  });
}

function errorOf(error: unknown): FerryError {
  const [code, errno, message] = ['code', 'errno', 'message'].map((name) => member(error, name));
  const known: `ERR_${string}` = typeof code === 'string' && isCode(code) ? code : 'ERR_PROXY_CONTROL';
  return new FerryError(known, typeof message === 'string' ? message : 'the proxy has failed', {
    errno: typeof errno === 'number' ? errno : Errno.EIO,
    context: contextOf(member(error, 'context')),
  });
}

function isCode(code: string): code is `ERR_${string}` {
  return code.startsWith('ERR_');
}

function contextOf(context: unknown): Record<string, string | number> {
  const found: Record<string, string | number> = {};
  for (const [name, value] of Object.entries(context ?? {})) {
    if (typeof value === 'string' || typeof value === 'number') found[name] = value;
  }
  return found;
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Object.getOwnPropertyDescriptor(value, name)?.value;
}
