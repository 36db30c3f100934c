import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Channel,
  type ChannelListener,
  type ChannelListenOptions,
  type ConnectOptions,
  connectChannel,
  type Endpoint,
  listenForChannels,
  makeTestCertificates,
  readTlsIdentity,
  type TlsIdentity,
} from '../../src/channel/index.ts';
import { epoch, group } from './samples.ts';

export type NetworkCarrier = Exclude<Endpoint['carrier'], never>;

/** A folder that is there for one test file. */
export async function temporaryFolder(): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'ferry-channel-'));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** Certificates of one authority for these names. */
export async function identities(
  folder: string,
  names: readonly string[],
): Promise<Map<string, TlsIdentity>> {
  const { ca, hosts } = await makeTestCertificates(folder, names);
  const entries = await Promise.all(
    [...hosts].map(async ([name, files]) => [name, await readTlsIdentity({ ca, ...files })] as const),
  );
  return new Map(entries);
}

/** Two sides that are connected over a real carrier. */
export interface Joined {
  readonly sender: Channel;
  readonly receiver: Channel;
  readonly listener: ChannelListener;
}

export type SenderOptions = Partial<ConnectOptions>;
export type ReceiverOptions = Partial<ChannelListenOptions>;

/** Listens, connects, and waits until both sides have their channel. */
export async function join2(
  at: Endpoint,
  senderOptions: SenderOptions = {},
  receiverOptions: ReceiverOptions = {},
): Promise<Joined> {
  let accepted: (channel: Channel) => void = () => {};
  const arrival = new Promise<Channel>((resolve) => {
    accepted = resolve;
  });
  const about = { group, epoch };
  const listener = await listenForChannels(at, { ...about, role: 'receiver', accepted, ...receiverOptions });
  const sender = await connectChannel(listener.endpoint, { ...about, role: 'sender', ...senderOptions });
  return { sender, receiver: await arrival, listener };
}
