import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Channel, connectChannel } from '../../channel/index.ts';
import { MigrationControl, type MigrationReport, runSender } from '../../engine/index.ts';
import { FerryError } from '../../errors/index.ts';
import { connectGroup } from '../access/device-group.ts';
import { listenForOperators } from '../migration/operator-socket.ts';
import { type ChannelOptions, type Way, wayOf } from '../options/channel-options.ts';
import { type ConfigurationOption, endOptionsOf } from '../options/configuration-option.ts';
import { forgetOld, journalsIn, recoverCommand } from '../options/journal-options.ts';
import { type LimitOptions, limitsOf, timeoutOf } from '../options/limit-options.ts';
import { onInterrupt } from '../outcome/interrupts.ts';
import { type MigrationView, migrationView } from '../output/migration-view.ts';

/** What the command line says about a migration to a receiver. */
export interface SendOptions extends LimitOptions, ChannelOptions, ConfigurationOption {
  readonly to: string;
  readonly channels?: number;
  readonly paused?: boolean;
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly journal?: string;
  readonly wait?: number;
  readonly json?: boolean;
}

const GROUP_SIZE = 16;

/** Moves devices to a receiver. Rejects with MigrationError, or with what keeps it from beginning. */
export async function send(paths: readonly string[], options: SendOptions): Promise<MigrationReport> {
  const way = await wayOf(options.to, options);
  const devices = await connectGroup(paths, options.timeout, endOptionsOf(options));
  const control = new MigrationControl();
  const off = onInterrupt(() => control.cancel());
  const view = migrationView(options.json === true);
  const group = randomBytes(GROUP_SIZE).toString('hex');
  const unlisten = listenForOperators(journalsIn(options.journal).name, group, control);
  const connect = (): Promise<Channel> => connectTo(way, group, options);
  try {
    return await runSender({
      devices: await devices.ends(),
      channel: await connect(),
      ...senderOptions(group, options),
      ...listeners(view),
      control,
      reconnect: (signal) => connectAgain(connect, signal),
    });
  } finally {
    view.close();
    unlisten();
    await forgetOld(journalsIn(options.journal));
    off();
    devices.close();
  }
}

function senderOptions(group: string, options: SendOptions) {
  const { preCopy, paused = false, force = false, dryRun = false, journal, wait } = options;
  return {
    ...{ preCopy, paused, force, dryRun, limits: limitsOf(options), journals: journalsIn(journal) },
    peer: { devices: null, recover: recoverCommand(group, journal) },
    ...timeoutOf(options),
    ...(wait === undefined ? {} : { reconnectMs: wait }),
  };
}

function listeners(view: MigrationView) {
  return {
    onProgress: (progress: Parameters<MigrationView['show']>[0]) => view.show(progress),
    onEvent: (event: Parameters<MigrationView['tell']>[0]) => view.tell(event),
  };
}

function connectTo({ endpoint, tls }: Way, group: string, options: SendOptions): Promise<Channel> {
  return connectChannel(endpoint, {
    ...{ role: 'sender', group, epoch: 1n, compression: options.compress },
    ...(options.channels === undefined ? {} : { connections: options.channels }),
    ...(tls === undefined ? {} : { tls }),
  });
}

/** How long to wait before the receiver is looked for again, in milliseconds. */
const PAUSE_MS = 250;

/** Connects as soon as that is possible again. */
export async function connectAgain(connect: () => Promise<Channel>, signal: AbortSignal): Promise<Channel> {
  for (;;) {
    try {
      const channel = await connect();
      if (!signal.aborted) return channel;
      channel.abort('it came too late');
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
    }
    await sleep(PAUSE_MS, undefined, { signal });
  }
}
