import { Errno, FerryError } from '../../errors/index.ts';
import { ProxyError } from '../../proxy/index.ts';
import { askLine } from '../access/line-socket.ts';
import { field } from '../access/server-report.ts';
import type { ProxyRequest } from './control-socket.ts';

/** How long an answer may take, in milliseconds: longer than a swap may. */
const PATIENCE_MS = 60_000;

/**
 * Asks a proxy over its control socket; returns what it has answered, as JSON.
 * @throws FerryError with the code, errno and context of the proxy's error; ProxyError ERR_PROXY_CONTROL without an answer
 */
export async function askProxy(path: string, request: ProxyRequest): Promise<unknown> {
  const answer = await askLine(path, JSON.stringify(request), PATIENCE_MS, (why) => {
    const message = `the proxy does not answer on ${path}: ${why}`;
    return new ProxyError('ERR_PROXY_CONTROL', message, { path }, { errno: Errno.ECONNREFUSED });
  });
  const error = field(answer, 'error');
  if (error !== undefined) throw errorOf(error);
  return answer;
}

function errorOf(error: unknown): FerryError {
  const [code, errno, message] = ['code', 'errno', 'message'].map((name) => field(error, name));
  const known: `ERR_${string}` = typeof code === 'string' && isCode(code) ? code : 'ERR_PROXY_CONTROL';
  return new FerryError(known, typeof message === 'string' ? message : 'the proxy has failed', {
    errno: typeof errno === 'number' ? errno : Errno.EIO,
    context: contextOf(field(error, 'context')),
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
