import { lookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { ChannelError } from './channel-error.ts';

/** Where a channel listens or connects to. */
export type Endpoint =
  | { readonly carrier: 'unix'; readonly path: string }
  | { readonly carrier: 'tcp' | 'tls'; readonly host: string; readonly port: number };

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

/**
 * Reads `unix:PATH`, `tcp:HOST:PORT` and `tls:HOST:PORT`. Without a prefix a text with a slash is a path, and any other
 * is for TCP. The host may be left out (`tcp::4711`): then it is this machine, 127.0.0.1. IPv6 stands in brackets.
 * @throws ChannelError ERR_CHANNEL_ENDPOINT
 */
export function parseEndpoint(text: string): Endpoint {
  const [, prefix, rest = ''] = /^(?:(unix|tcp|tls):)?(.*)$/s.exec(text) ?? [];
  if (prefix === 'unix' || (prefix === undefined && rest.includes('/')))
    return { carrier: 'unix', path: rest };
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(rest);
  const port = Number(match?.[3] ?? Number.NaN);
  if (match === null || port > 65535) {
    const how = 'write unix:PATH, tcp:HOST:PORT or tls:HOST:PORT';
    throw new ChannelError('ERR_CHANNEL_ENDPOINT', `${JSON.stringify(text)} is no address: ${how}`);
  }
  const host = match[1] ?? match[2] ?? '';
  return { carrier: prefix === 'tls' ? 'tls' : 'tcp', host: host === '' ? '127.0.0.1' : host, port };
}

/** An endpoint as {@link parseEndpoint} reads it. */
export function printEndpoint(endpoint: Endpoint): string {
  if (endpoint.carrier === 'unix') return `unix:${endpoint.path}`;
  const { carrier, host, port } = endpoint;
  return `${carrier}:${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** Whether an IP address is of this machine alone. */
function isLoopback(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && loopback.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/**
 * The address of a host. Whatever is not this machine itself needs TLS: without it anybody on the way could read the
 * guest's memory, or send a device state of their own.
 * @throws ChannelError ERR_CHANNEL_CONNECT, ERR_CHANNEL_INSECURE
 */
export async function resolveHost(endpoint: Exclude<Endpoint, { carrier: 'unix' }>): Promise<string> {
  const { host, carrier } = endpoint;
  const { address } = await lookup(host).catch((cause) => {
    throw new ChannelError('ERR_CHANNEL_CONNECT', `the host ${host} is not known here`, { cause });
  });
  if (carrier === 'tls' || isLoopback(address)) return address;
  const what = `${host} is not this machine, and without TLS everybody on the way can read and change the state`;
  const how = 'use tls: with certificates, or a tunnel to a loopback address';
  throw new ChannelError('ERR_CHANNEL_INSECURE', `${what}; ${how}`, { context: { host } });
}
