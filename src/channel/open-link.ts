import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import type { Native } from '../native/index.ts';
import { connect as connectUnix } from '../transport/index.ts';
import { ChannelError } from './channel-error.ts';
import { type Endpoint, printEndpoint, resolveHost } from './endpoint.ts';
import { FdLink } from './fd-link.ts';
import type { Link, LinkPeer } from './link.ts';
import { StreamLink } from './stream-link.ts';
import { type TlsIdentity, tlsDemands, tlsFailure, verifiedPeer } from './tls-identity.ts';

/** How a link is opened. */
export interface OpenLinkOptions {
  readonly native: Native;
  readonly tls: TlsIdentity | undefined;
  readonly timeoutMs: number;
}

/** Connects once. @throws ChannelError, TransportError */
export async function openLink(endpoint: Endpoint, options: OpenLinkOptions): Promise<Link> {
  if (endpoint.carrier === 'unix') {
    const peer = { carrier: 'unix', address: endpoint.path, identity: null, fingerprint: null } as const;
    return new FdLink(options.native, connectUnix(options.native, endpoint.path), peer);
  }
  const host = await resolveHost(endpoint);
  return endpoint.carrier === 'tls' ? openTls(endpoint, host, options) : openTcp(endpoint, host, options);
}

type InternetEndpoint = Exclude<Endpoint, { carrier: 'unix' }>;

async function openTcp(endpoint: InternetEndpoint, host: string, options: OpenLinkOptions): Promise<Link> {
  const address = printEndpoint(endpoint);
  const socket = connectTcp({ host, port: endpoint.port });
  await connected(socket, 'connect', address, options.timeoutMs, (cause) => unreachable(address, cause));
  return tcpLink(options.native, socket, address);
}

async function openTls(endpoint: InternetEndpoint, host: string, options: OpenLinkOptions): Promise<Link> {
  const address = printEndpoint(endpoint);
  const { tls, timeoutMs } = options;
  if (tls === undefined)
    throw new ChannelError('ERR_CHANNEL_TLS', `${address} needs certificates: name them`);
  const name = tls.peerName ?? endpoint.host;
  const identity = { ...tlsDemands(tls), ...(/^[\d.]+$|:/.test(name) ? {} : { servername: name }) };
  const socket = connectTls({ host, port: endpoint.port, ...identity, checkServerIdentity: () => undefined });
  await connected(socket, 'secureConnect', address, timeoutMs, (cause) => tlsFailure(address, cause));
  try {
    return tlsLink(options.native, socket, address, name);
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

/** A TCP connection as a link: by its fd, where the runtime tells it, which is several times as fast. */
export function tcpLink(native: Native, socket: Socket, address: string): Link {
  const peer: LinkPeer = { carrier: 'tcp', address, identity: null, fingerprint: null };
  socket.setNoDelay(true);
  const fd = fdOf(socket);
  const own = fd === null ? -1 : native.dup(fd);
  if (own < 0) return new StreamLink(socket, peer);
  // The duplicate keeps the connection open.
  socket.destroy();
  return new FdLink(native, own, peer);
}

/**
 * A TLS connection as a link, once the other side is known to be who it should be: `name`; undefined: whoever the
 * authorities vouch for.
 * @throws ChannelError ERR_CHANNEL_TLS
 */
export function tlsLink(native: Native, socket: TLSSocket, address: string, name: string | undefined): Link {
  const peer: LinkPeer = { carrier: 'tls', address, ...verifiedPeer(socket, name) };
  socket.setNoDelay(true);
  // Node brings every record in memory of its own.
  native.keepHeap();
  return new StreamLink(socket, peer);
}

/** The fd of a socket, which libuv's handle has but no documented function tells; null when it has none. */
function fdOf(socket: Socket): number | null {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : null;
  return typeof fd === 'number' && fd >= 0 ? fd : null;
}

function connected(
  socket: Socket,
  event: 'connect' | 'secureConnect',
  address: string,
  timeoutMs: number,
  failure: (cause: Error) => ChannelError,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (error: ChannelError): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const late = new ChannelError('ERR_CHANNEL_TIMEOUT', `${address} did not answer in ${timeoutMs} ms`);
    const timer = setTimeout(() => stop(late), timeoutMs);
    socket.once('error', (cause) => stop(failure(cause)));
    socket.once(event, () => {
      clearTimeout(timer);
      socket.removeAllListeners('error');
      socket.on('error', () => {});
      resolve();
    });
  });
}

function unreachable(address: string, cause: Error): ChannelError {
  const message = `cannot connect to ${address}: ${cause.message}; is the receiver running there?`;
  return new ChannelError('ERR_CHANNEL_CONNECT', message, { cause, context: { address } });
}
