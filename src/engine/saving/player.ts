import type { Channel, Message, MessageKind, MessageOf, Source } from '../../channel/index.ts';
import { type Manifest, manifestToJson } from '../preflight/manifest.ts';
import { reasonToJson, verdictFromJson } from '../side-report.ts';
import { asStepError, StepError } from '../step-error.ts';
import { readSavedDevices } from './saved-content.ts';

/** Plays a saved stream to a receiver, as the sender would have sent it. */
export class Player {
  readonly #channel: Channel;
  readonly #source: Source;
  readonly #force: boolean;
  readonly #inbox: Message[] = [];
  #wake: (() => void) | null = null;
  #ended = false;

  /** `channel` leads to the receiver. */
  constructor(channel: Channel, source: Source, force: boolean) {
    this.#channel = channel;
    this.#source = source;
    this.#force = force;
    channel.receive((message) => {
      this.#inbox.push(message);
      this.#wake?.();
    });
    void channel.closed.then(() => {
      this.#ended = true;
      this.#wake?.();
    });
  }

  /** Resolves when the conversation is over, however it went: the receiver tells that. */
  async play(): Promise<void> {
    try {
      await this.#play();
    } catch (error) {
      this.#refuse(asStepError(error));
    }
    await this.#channel.close();
  }

  /** The receiver is ready only once the stream has been verified to its end, so that nothing else ever runs. */
  async #play(): Promise<void> {
    const { group, epoch } = this.#channel.peer;
    const { complete } = await readSavedDevices(
      this.#source,
      (message, body) => this.#send(message, body),
      (manifest) => this.#open(manifest),
    );
    await this.#send({ kind: 'COMPLETE', group, epoch, totals: complete.totals });
    await this.#hear('READY');
    await this.#send({ kind: 'COMMIT', group, epoch });
    await this.#hear('RUNNING');
  }

  /** The device that was saved is another one than any that there is now, whatever its number. */
  async #open(manifest: Manifest): Promise<void> {
    const devices = manifest.devices.map((device) => ({
      ...device,
      ...{ instance: '0'.repeat(16), busy: null, claims: true, backEnds: [] },
    }));
    const played = { ...manifest, devices, force: this.#force };
    await this.#send({ kind: 'MANIFEST', manifest: manifestToJson(played) });
    const verdict = verdictFromJson((await this.#hear('VERDICT')).verdict);
    if (verdict === null || verdict.reasons.length > 0) throw gone();
    await this.#send({ kind: 'OPEN' });
    await this.#hear('OPENED');
  }

  async #send(message: Message, body?: Uint8Array): Promise<void> {
    if (this.#inbox.some(({ kind }) => kind === 'ABORT')) throw gone();
    await this.#channel.send(message, body);
  }

  async #hear<K extends MessageKind>(kind: K): Promise<MessageOf<K>> {
    for (;;) {
      const message = this.#inbox.shift();
      if (message !== undefined && isOf(message, kind)) return message;
      if (message !== undefined || this.#ended) throw gone();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #refuse(error: StepError): void {
    const { group, epoch } = this.#channel.peer;
    try {
      void this.#channel.send({ kind: 'ABORT', group, epoch, reason: reasonToJson(error) });
    } catch {
      // The receiver has ended before, and tells why.
    }
  }
}

/** What went wrong is the receiver's to tell. */
function gone(): StepError {
  return new StepError('ERR_PEER_LEFT', 'channel', 'the receiver has given up');
}

function isOf<K extends MessageKind>(message: Message, kind: K): message is MessageOf<K> {
  return message.kind === kind;
}
