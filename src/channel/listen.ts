import { createServer as createTcpServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { loadNative, type Native } from '../native/index.ts';
import { EventLoopReactor, listen as listenUnix } from '../transport/index.ts';
import { Admission } from './admission.ts';
import type { Channel } from './channel.ts';
import { ChannelError } from './channel-error.ts';
import { type ChannelIdentity, settingsOf } from './channel-options.ts';
import { type Endpoint, parseEndpoint, resolveHost } from './endpoint.ts';
import { asChannelError } from './failures.ts';
import { FdLink } from './fd-link.ts';
import { tcpLink, tlsLink } from './open-link.ts';
import { type TlsIdentity, tlsDemands, tlsFailure } from './tls-identity.ts';

/** How to listen. */
export interface ChannelListenOptions extends ChannelIdentity {
  /** Needed for `tls:`. */
  readonly tls?: TlsIdentity;
  /** The addon; by default the one of this thread. */
  readonly native?: Native;
  /** Connections that have not become part of a channel yet, at most; 32 by default. */
  readonly maxWaiting?: number;
  /** Channels at the same time, at most; 4 by default. */
  readonly maxChannels?: number;
  /** Gets every channel that was made. */
  readonly accepted: (channel: Channel) => void;
  /** Gets to know whom nobody let in, and why. */
  readonly refused?: (error: ChannelError) => void;
}

/** A side that listens. */
export interface ChannelListener {
  /** Where, with the port that was chosen when 0 was asked for. */
  readonly endpoint: Endpoint;
  /** Stops listening. Channels that were accepted stay. */
  close(): Promise<void>;
}

/**
 * Listens for channels. TCP without TLS only on a loopback address; TLS only for whoever has a certificate of the
 * authorities; a UNIX socket only for the same user.
 * @throws ChannelError, TransportError (UNIX)
 */
export async function listenForChannels(
  at: Endpoint | string,
  options: ChannelListenOptions,
): Promise<ChannelListener> {
  const endpoint = typeof at === 'string' ? parseEndpoint(at) : at;
  const native = options.native ?? loadNative();
  const { maxWaiting = 32, maxChannels = 4, refused = () => {} } = options;
  const admission = new Admission({ ...options, native, maxWaiting, maxChannels, refused });
  if (endpoint.carrier === 'unix') return listenOnPath(endpoint, native, admission);
  const server =
    endpoint.carrier === 'tls' ? tlsServer(options, native, admission) : tcpServer(native, admission);
  server.maxConnections = maxWaiting + maxChannels * 16;
  const host = await resolveHost(endpoint);
  await bound(server, host, endpoint.port);
  return {
    endpoint: { ...endpoint, port: portOf(server) ?? endpoint.port },
    close: () => closeServer(server, admission),
  };
}

function listenOnPath(
  endpoint: Extract<Endpoint, { carrier: 'unix' }>,
  native: Native,
  admission: Admission,
): ChannelListener {
  const { path } = endpoint;
  const peer = { carrier: 'unix', address: path, identity: null, fingerprint: null } as const;
  const reactor = new EventLoopReactor(native);
  const accepted = (fd: number): void => admission.admit(new FdLink(native, fd, peer));
  const listener = listenUnix({ native, reactor, path, mode: 0o600, accepted });
  const close = async (): Promise<void> => {
    listener.close();
    admission.close();
  };
  return { endpoint, close };
}

function tcpServer(native: Native, admission: Admission): Server {
  return createTcpServer({ pauseOnConnect: true }, (socket) => {
    socket.on('error', () => {});
    admission.admit(tcpLink(native, socket, addressOf(socket)));
  });
}

function tlsServer(options: ChannelListenOptions, native: Native, admission: Admission): Server {
  const { tls, refused = () => {} } = options;
  if (tls === undefined) throw new ChannelError('ERR_CHANNEL_TLS', 'tls: needs certificates: name them');
  const { handshakeMs } = settingsOf(options);
  const server = createTlsServer({ ...tlsDemands(tls), handshakeTimeout: handshakeMs }, (socket) => {
    socket.on('error', () => {});
    try {
      admission.admit(tlsLink(native, socket, addressOf(socket), tls.peerName));
    } catch (error) {
      socket.destroy();
      refused(asChannelError(error));
    }
  });
  return server.on('tlsClientError', (error, socket) => refused(tlsFailure(addressOf(socket), error)));
}

function addressOf({ remoteAddress, remotePort }: Socket): string {
  if (remoteAddress === undefined) return 'somebody who has left';
  return `${remoteAddress.includes(':') ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`;
}

function bound(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) => {
      const message = `cannot listen on ${host} port ${port}: ${cause.message}`;
      reject(new ChannelError('ERR_CHANNEL_CONNECT', message, { cause }));
    });
    server.listen({ host, port }, resolve);
  });
}

function portOf(server: Server): number | null {
  const address = server.address();
  return typeof address === 'object' && address !== null ? address.port : null;
}

/** Resolves at once: the connections of channels that were accepted may live on. */
async function closeServer(server: Server, admission: Admission): Promise<void> {
  admission.close();
  server.close();
}
