import { randomBytes } from 'node:crypto';
import { memoryPair, type Source } from '../../channel/index.ts';
import { type ReceiverReport, type RunReceiverOptions, runReceiver } from '../run-receiver.ts';
import { Player } from './player.ts';
import { readSavedContent } from './saved-content.ts';

/** What restoring is done with. Everything but the devices and the file has a default. */
export interface RestoreOptions extends Omit<RunReceiverOptions, 'channel' | 'reconnect' | 'reconnectMs'> {
  /** The saved stream, decrypted. */
  readonly source: Source;
  /** Restore a group although one of its devices can't be stopped without risk. */
  readonly force?: boolean;
  /** Names this restoration: 32 hex digits. Default: random. */
  readonly group?: string;
}

const GROUP_SIZE = 16;

/**
 * Gives devices the state that was saved, and has them run as those that were saved did. A source that can be read twice
 * is verified before any device is touched, any other while it is read: no device runs before the last byte has been
 * verified. Rejects with MigrationError, ChannelError, or StepError for a stream that holds no devices.
 */
export async function restore(options: RestoreOptions): Promise<ReceiverReport> {
  const { source, force = false, group = randomBytes(GROUP_SIZE).toString('hex'), ...receiver } = options;
  if (source.rewind !== null) {
    await readSavedContent(source);
    source.rewind();
  }
  const pair = memoryPair({ group, epoch: 1n });
  const player = new Player(pair.sender, source, force);
  const [received] = await Promise.allSettled([
    runReceiver({ ...receiver, channel: pair.receiver }),
    player.play(),
  ]);
  if (received.status === 'rejected') throw received.reason;
  return received.value;
}
