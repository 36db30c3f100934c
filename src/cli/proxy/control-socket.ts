import { FerryError } from '../../errors/index.ts';
import { ProxyError, type ProxyStatus, type SwapReport } from '../../proxy/index.ts';
import type { Closeable } from '../../transport/index.ts';
import { LineSocket } from '../access/line-socket.ts';
import { field } from '../access/server-report.ts';

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

/**
 * Lets the user that the proxy runs under steer it over a UNIX socket (mode 0600), a line of JSON each way.
 * @throws ProxyError ERR_PROXY_CONTROL when the path can't be used
 */
export async function listenForOperators(path: string, proxy: SteeredProxy): Promise<Closeable> {
  const socket = new LineSocket(path, async (line) => JSON.stringify(await answerTo(line, proxy)));
  try {
    await socket.listen();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new ProxyError('ERR_PROXY_CONTROL', `can't listen on ${path}: ${why}`, { path }, { cause: error });
  }
  return socket;
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
  const what = field(json, 'do');
  if (what === 'status') return { do: what };
  const [backend, fresh] = [field(json, 'backend'), field(json, 'fresh') ?? false];
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
