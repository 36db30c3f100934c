import type { MessageHandler } from './channel.ts';
import { ChannelError, messageOf } from './channel-error.ts';
import type { Connection } from './connection.ts';
import { type ControlMessage, controlCodec, controlMessages } from './control-messages.ts';
import { Delivery } from './delivery.ts';
import { asChannelError } from './failures.ts';
import type { ParkedFrame } from './frame-reader.ts';
import { Inflater } from './inflater.ts';
import type { ChannelRole } from './kind.ts';
import { messageCodec } from './message-codec.ts';

/** How messages are received. */
export interface ReassemblyOptions {
  readonly connections: readonly Connection[];
  /** Who sends them. */
  readonly from: ChannelRole;
  /** The other side has said goodbye, and everything before that is delivered. */
  readonly ended: () => void;
  readonly failed: (error: ChannelError) => void;
}

/** Brings the messages of all connections into their order, decompresses and delivers them, each from where it lies. */
export class Reassembly {
  readonly #options: ReassemblyOptions;
  readonly #delivery: Delivery;
  readonly #inflater: Inflater;
  /** Messages that were delivered, and the bytes of their payloads. */
  #delivered = 0;
  #bytes = 0;
  /** The connection whose first frame the handler has. */
  #held: Connection | null = null;
  #ended = false;
  #stopped = false;

  constructor(options: ReassemblyOptions) {
    this.#options = options;
    this.#delivery = new Delivery({
      ready: () => this.#deliver(),
      failed: (cause) => options.failed(handlerFailed(cause)),
    });
    this.#inflater = new Inflater(
      () => this.#deliver(),
      (error) => options.failed(asChannelError(error)),
    );
  }

  /** Messages that were delivered. */
  get delivered(): number {
    return this.#delivered;
  }

  receive(handler: MessageHandler): void {
    this.#delivery.set(handler);
  }

  /** A frame has come. @throws ChannelError after the end */
  arrived(connection: Connection, frame: ParkedFrame): void {
    if (this.#ended)
      throw new ChannelError('ERR_CHANNEL_ORDER', 'a message came after the end of the stream');
    this.#inflater.prepare(frame);
    if (connection.parked.length === 1) this.#deliver();
  }

  /** Delivers nothing more. */
  stop(): void {
    this.#stopped = true;
  }

  #deliver(): void {
    while (!this.#stopped && !this.#ended && !this.#delivery.busy) {
      this.#held?.release();
      this.#held = null;
      const connection = this.#options.connections.find(
        ({ parked }) => parked[0]?.sequence === this.#delivered + 1,
      );
      const frame = connection?.parked[0];
      if (connection === undefined || frame === undefined) return this.#checkGap();
      if (frame.kind === controlMessages.BYE.number) return this.#goodbye(connection, frame);
      if (!this.#delivery.ready) return;
      const payload = this.#inflater.take(frame);
      if (payload === null) return;
      this.#delivered += 1;
      this.#bytes += payload.length;
      this.#held = connection;
      this.#deliverOne(frame.kind, payload);
    }
  }

  #deliverOne(kind: number, payload: Uint8Array): void {
    try {
      const { message, body } = messageCodec.decode(kind, payload, this.#options.from);
      this.#delivery.deliver(message, body);
    } catch (error) {
      this.#options.failed(asChannelError(error));
    }
  }

  /** Each connection is in order, so when all have something and none has what comes next, it will never come. */
  #checkGap(): void {
    if (this.#options.connections.some(({ parked }) => parked.length === 0)) return;
    const why = `message ${this.#delivered + 1} is missing: messages were lost, repeated or moved`;
    this.#options.failed(new ChannelError('ERR_CHANNEL_ORDER', why));
  }

  #goodbye(connection: Connection, { kind, payload }: ParkedFrame): void {
    if (!this.#totalsAreRight(controlCodec.decode(kind, payload, this.#options.from).message)) {
      const why = 'the totals at the end differ from what arrived';
      return this.#options.failed(new ChannelError('ERR_CHANNEL_ORDER', why));
    }
    this.#ended = true;
    connection.release();
    this.#options.ended();
  }

  #totalsAreRight(message: ControlMessage): boolean {
    return (
      message.kind === 'BYE' &&
      message.messages === BigInt(this.#delivered) &&
      message.bytes === BigInt(this.#bytes)
    );
  }
}

function handlerFailed(cause: unknown): ChannelError {
  const text = `what received the messages has failed: ${messageOf(cause)}`;
  return new ChannelError('ERR_CHANNEL_HANDLER', text, { cause });
}
