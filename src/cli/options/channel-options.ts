import { type Command, Option } from 'commander';
import {
  type CompressionMode,
  type Endpoint,
  MAX_CONNECTIONS,
  parseEndpoint,
  readTlsIdentity,
  type TlsIdentity,
} from '../../channel/index.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { wholeNumber } from './quantities.ts';

/** What the command line says about the way to the other side. */
export interface ChannelOptions {
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
  readonly tlsName?: string;
  readonly compress: CompressionMode;
}

/** Where the other side is, or is to come to, and who this side is there. */
export interface Way {
  readonly endpoint: Endpoint;
  readonly tls?: TlsIdentity;
}

/** Adds the options of both sides. */
export function addChannelOptions(command: Command): Command {
  return addTlsOptions(command).addOption(
    new Option('--compress <mode>', 'compress what is sent: where it pays, always, never')
      .choices(['auto', 'on', 'off'])
      .default('auto'),
  );
}

/** Adds what says who this side is under TLS and whom it trusts. */
export function addTlsOptions(command: Command): Command {
  return command
    .option('--tls-cert <file>', 'TLS: our certificate, PEM')
    .option('--tls-key <file>', 'TLS: its private key, PEM')
    .option(
      '--tls-ca <file>',
      'TLS: the authorities from which the other side must have its certificate, PEM',
    )
    .option('--tls-name <name>', "TLS: the name in the other side's certificate, if it is not the host's");
}

/** The number of connections that a sender makes. */
export function addConnectionsOption(command: Command): Command {
  const number = wholeNumber(1, MAX_CONNECTIONS);
  return command.option('--channels <number>', 'connections to spread over (default: 1)', number);
}

/** Puts an address and the TLS options together. Rejects with UsageError, ChannelError. */
export async function wayOf(address: string, options: Partial<ChannelOptions>): Promise<Way> {
  const endpoint = parseEndpoint(address);
  const { tlsCert: cert, tlsKey: key, tlsCa: ca, tlsName } = options;
  const given = [cert, key, ca, tlsName].filter((each) => each !== undefined);
  if (given.length === 0 && endpoint.carrier !== 'tls') return { endpoint };
  if (endpoint.carrier === 'unix') throw new UsageError('TLS is for tcp:, not for unix:');
  if (cert === undefined || key === undefined || ca === undefined) {
    throw new UsageError('TLS needs all three: --tls-cert, --tls-key and --tls-ca');
  }
  const identity = await readTlsIdentity({ cert, key, ca });
  const tls = tlsName === undefined ? identity : { ...identity, peerName: tlsName };
  return { endpoint: { ...endpoint, carrier: 'tls' }, tls };
}
