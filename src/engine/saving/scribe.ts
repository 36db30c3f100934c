import type { Channel, Message, MessageOf } from '../../channel/index.ts';
import { MigrationState } from '../../states/index.ts';
import { manifestFromJson } from '../preflight/manifest.ts';
import { reasonToJson, runningToJson, verdictToJson } from '../side-report.ts';
import { messageOf, StepError } from '../step-error.ts';

/** What becomes of the devices once they are saved: they run on where they are, or never again there. */
export type Leave = 'running' | 'stopped';

/**
 * Answers a sender as a destination would, and writes down what it sends. When the devices are to run on, it gives the
 * migration up as soon as everything has been sent: the sender then brings its devices back, whatever the disk does.
 * When they are to stay stopped, it is ready only when the file is on the disk.
 */
export class Scribe {
  readonly #channel: Channel;
  readonly #file: Channel;
  readonly #leave: Leave;
  #bytes = 0;
  #devices = 0;
  #written = false;

  /** `channel` leads to the sender, `file` into the file. */
  constructor(channel: Channel, file: Channel, leave: Leave) {
    this.#channel = channel;
    this.#file = file;
    this.#leave = leave;
    channel.receive((message, body) => this.#take(message, body));
  }

  /** Everything that the sender had to say has been written; whether it lasts, the end of the file's channel tells. */
  get written(): boolean {
    return this.#written;
  }

  #take(message: Message, body: Uint8Array): void | Promise<void> {
    switch (message.kind) {
      case 'MANIFEST':
        return this.#judge(message);
      case 'OPEN':
        return this.#say({ kind: 'OPENED' });
      case 'SYNC':
        return this.#say({ kind: 'SYNCED', id: message.id, bytes: BigInt(this.#bytes) });
      case 'INITIAL':
        return this.#say({ kind: 'INITIAL_LOADED', device: message.device });
      case 'COMPLETE':
        return this.#complete(message);
      case 'COMMIT':
        return this.#committed(message);
      case 'ABORT':
        return this.#aborted(message);
      default:
        this.#bytes += body.length;
        return this.#write(message, body);
    }
  }

  #judge(message: MessageOf<'MANIFEST'>): void {
    const devices = manifestFromJson(message.manifest)?.devices ?? [];
    this.#devices = devices.length;
    const flags = devices.map((device) => device.flags ?? 0);
    this.#say({ kind: 'VERDICT', verdict: verdictToJson({ reasons: [], notes: [], flags }) });
    void this.#write(message);
  }

  #write(message: Message, body?: Uint8Array): void | Promise<void> {
    try {
      return this.#file.send(message, body) ?? undefined;
    } catch (error) {
      this.#giveUp(messageOf(error));
    }
  }

  async #complete(message: MessageOf<'COMPLETE'>): Promise<void> {
    await this.#write(message);
    this.#written = true;
    const { group, epoch } = message;
    if (this.#leave === 'running') return this.#giveUp('the devices are saved, and run on here');
    const { error } = await this.#file.close();
    if (error === null) this.#say({ kind: 'READY', group, epoch });
    else this.#giveUp(error.message);
  }

  #committed({ group, epoch }: MessageOf<'COMMIT'>): void {
    const states = Array.from({ length: this.#devices }, () => MigrationState.STOP);
    const report = { problem: null, states, changes: [], openedAtMs: 0, runningAtMs: 0 };
    this.#say({ kind: 'RUNNING', group, epoch, report: runningToJson(report) });
  }

  #aborted({ group, epoch }: MessageOf<'ABORT'>): void {
    if (!this.#written || this.#leave === 'stopped') this.#file.abort('the devices were not saved');
    this.#say({ kind: 'ABORTED', group, epoch });
  }

  #giveUp(why: string): void {
    const { group, epoch } = this.#channel.peer;
    const reason = reasonToJson(new StepError('ERR_STEP_FAILED', 'destination', why));
    this.#say({ kind: 'ABORT', group, epoch, reason });
  }

  /** A sender that has gone hears nothing, and needs nothing. */
  #say(message: Message): void {
    try {
      void this.#channel.send(message);
    } catch {
      this.#file.abort('whoever saved has gone');
    }
  }
}
