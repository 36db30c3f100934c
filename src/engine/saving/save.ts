import { type Channel, memoryPair } from '../../channel/index.ts';
import { MigrationError } from '../migration-error.ts';
import type { MigrationEvent } from '../recorder.ts';
import { type RunSenderOptions, runSender } from '../run-sender.ts';
import type { Timeline } from '../timeline.ts';
import { type Leave, Scribe } from './scribe.ts';

/** What saving is done with. Everything but the devices and the file has a default. */
export interface SaveOptions
  extends Omit<RunSenderOptions, 'channel' | 'reconnect' | 'reconnectMs' | 'dryRun'> {
  /** From `saveTo`. */
  readonly file: Channel;
  /** Default `running`. */
  readonly leave?: Leave;
}

/** What saving has come to. */
export interface SaveReport {
  readonly file: string;
  /** Names what is in the file: 32 hex digits. */
  readonly group: string;
  readonly leave: Leave;
  /** Bytes of messages and state, and what of the file they take; its greeting and encryption come on top. */
  readonly bytes: number;
  readonly fileBytes: number;
  /** How long the guest stood still, in milliseconds; for ever with `stopped`, and then until the file was whole. */
  readonly downtimeMs: number;
  readonly totalMs: number;
  /** How it went. Devices that run on have been brought back, as after a migration that is off. */
  readonly timeline: Timeline;
}

/**
 * Writes the state of the devices to a file, with everything that holds for a migration: when it resolves, the file is
 * whole and on the disk, and the devices run on, or have stopped for good. Rejects with MigrationError, or with
 * ChannelError when the devices run on and the file could not be written.
 */
export async function save(options: SaveOptions): Promise<SaveReport> {
  const { file, leave = 'running', onEvent, hooks = {}, ...common } = options;
  const { group, epoch } = file.peer;
  const pair = memoryPair({ group, epoch });
  const scribe = new Scribe(pair.receiver, file, leave);
  const times = new Stopwatch();
  let resumes = true;
  const resume = async (): Promise<void> => {
    resumes = false;
    await hooks.resume?.();
    resumes = true;
  };
  let timeline: Timeline;
  try {
    const report = await runSender({
      ...common,
      ...{ channel: pair.sender, hooks: { ...hooks, resume } },
      onEvent: (event) => {
        times.note(event);
        onEvent?.(event);
      },
    });
    timeline = report.timeline;
  } catch (error) {
    const back = wentBack(error);
    if (leave === 'stopped' || !scribe.written || !resumes || back === null) {
      file.abort('the devices were not saved');
      throw error;
    }
    timeline = back;
  }
  times.end();
  const { error } = await file.close();
  if (error !== null) throw error;
  const { rawSent: bytes, wireSent: fileBytes } = file.statistics;
  return { file: file.peer.address, group, leave, bytes, fileBytes, timeline, ...times.report };
}

/** How the sender has brought all its devices back, as it was asked to; null: somebody has to see to them. */
function wentBack(error: unknown): Timeline | null {
  const isBack = error instanceof MigrationError && error.owner === 'source' && error.nextSteps.length === 0;
  return isBack ? error.timeline : null;
}

/** When the guest stood still. */
class Stopwatch {
  readonly #started = performance.now();
  #stoppedAt: number | null = null;
  #endedAt = this.#started;

  note(event: MigrationEvent): void {
    if (event.type === 'phase' && event.phase === 'stop') this.#stoppedAt = performance.now();
  }

  end(): void {
    this.#endedAt = performance.now();
  }

  get report() {
    const totalMs = performance.now() - this.#started;
    return { downtimeMs: this.#stoppedAt === null ? 0 : this.#endedAt - this.#stoppedAt, totalMs };
  }
}
