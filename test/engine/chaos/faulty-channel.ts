import type {
  Channel,
  ChannelEnd,
  ChannelPeer,
  ChannelStatistics,
  Message,
  MessageHandler,
  MessageKind,
} from '../../../src/channel/index.ts';

/** One end of a channel on which messages may get lost or come twice, as a broken carrier or peer would have it. */
export class FaultyChannel implements Channel {
  readonly #inner: Channel;
  /** Nothing that is sent arrives any more. */
  mute = false;
  /** The next message of this kind never arrives, and nothing after it. */
  loses: MessageKind | null = null;
  /** The next message of this kind arrives twice. */
  doubles: MessageKind | null = null;
  /** Called when something was lost: a channel notices silence after a while. */
  onLoss: () => void = () => {};

  constructor(inner: Channel) {
    this.#inner = inner;
  }

  get peer(): ChannelPeer {
    return this.#inner.peer;
  }

  get closed(): Promise<ChannelEnd> {
    return this.#inner.closed;
  }

  get statistics(): ChannelStatistics {
    return this.#inner.statistics;
  }

  send(message: Message, body?: Uint8Array): Promise<void> | null {
    if (message.kind === this.loses) {
      this.mute = true;
      this.onLoss();
    }
    if (this.mute) return null;
    if (message.kind === this.doubles) {
      this.doubles = null;
      this.#inner.send(message, body);
    }
    return this.#inner.send(message, body);
  }

  receive(handler: MessageHandler): void {
    this.#inner.receive(handler);
  }

  /** What is lost includes the end. */
  close(): Promise<ChannelEnd> {
    return this.mute ? this.#inner.closed : this.#inner.close();
  }

  abort(reason: string): void {
    this.#inner.abort(reason);
  }

  limitRate(bytesPerSecond: number | null): void {
    this.#inner.limitRate(bytesPerSecond);
  }
}
