import { loadNative, type Native } from '../native/index.ts';
import type { Greeting, MessageHandler } from './channel.ts';
import { ChannelError } from './channel-error.ts';
import { type ControlMessage, controlCodec, controlMessages, RoleNumber } from './control-messages.ts';
import type { Source } from './file-source.ts';
import { type Crc32, seedOf } from './frame.ts';
import { frameName } from './frame-check.ts';
import { FrameReader, type ParkedFrame } from './frame-reader.ts';
import { GreetingBuffer } from './greeting.ts';
import { checkGreeting, MIN_WINDOW } from './greeting-rules.ts';
import { inflate } from './inflater.ts';
import { messageCodec } from './message-codec.ts';

/** What a saved stream has turned out to be, once all of it has been verified. */
export interface SavedSummary extends Greeting {
  readonly messages: number;
  /** Bytes of messages and bodies before compression, and of the whole file before encryption. */
  readonly rawBytes: number;
  readonly wireBytes: number;
}

/**
 * Reads a saved stream from where the source stands to its end and hands every message to `handler`, each after it has
 * been verified; a body is valid until the handler is done. Whether the stream is whole is known only at the end: apply
 * nothing for good before this resolves, or read it once without a handler first and then again.
 * @throws ChannelError, and whatever the handler throws
 */
export async function readSaved(
  source: Source,
  handler: MessageHandler = () => {},
  native: Native = loadNative(),
): Promise<SavedSummary> {
  const reading = new Reading(source, handler, native.crc32);
  return reading.read();
}

class Reading {
  readonly #source: Source;
  readonly #handler: MessageHandler;
  readonly #crc32: Crc32;
  readonly #parked: ParkedFrame[] = [];
  readonly #reader: FrameReader;
  #messages = 0;
  #rawBytes = 0;
  #wireBytes = 0;
  #ended = false;

  constructor(source: Source, handler: MessageHandler, crc32: Crc32) {
    this.#source = source;
    this.#handler = handler;
    this.#crc32 = crc32;
    const accept = (frame: ParkedFrame): void => {
      this.#parked.push(frame);
    };
    // All that one read brings is handled before the next.
    this.#reader = new FrameReader({ window: MIN_WINDOW, crc32, accept });
  }

  async read(): Promise<SavedSummary> {
    const { session, group, epoch } = await this.#greeting();
    this.#reader.seed = seedOf(this.#crc32, session, 0, RoleNumber.sender);
    this.#reader.frames = 1;
    await this.#handle();
    while (await this.#readSome());
    if (!this.#ended) throw new ChannelError('ERR_CHANNEL_CUT', `${this.#source.name} ends too early`);
    const { messages, rawBytes, wireBytes } = this.#totals;
    return { role: 'sender', group, epoch, messages, rawBytes, wireBytes };
  }

  get #totals() {
    return { messages: this.#messages, rawBytes: this.#rawBytes, wireBytes: this.#wireBytes };
  }

  async #greeting() {
    const buffer = new GreetingBuffer();
    for (;;) {
      // No more than the greeting itself is read, so that nothing has to be put back.
      const count = await this.#source.read(buffer.buffer.subarray(buffer.offset, buffer.needed));
      if (count === 0) throw new ChannelError('ERR_CHANNEL_CUT', `${this.#source.name} ends too early`);
      this.#wireBytes += count;
      buffer.offset += count;
      const greeting = buffer.parse({ kind: 'HELLO', from: 'sender', crc32: this.#crc32 });
      if (greeting === null) continue;
      checkGreeting(greeting.message, 'receiver');
      return greeting.message;
    }
  }

  async #readSome(): Promise<boolean> {
    const { buffer, offset, room } = this.#reader;
    const count = await this.#source.read(buffer.subarray(offset, offset + room));
    if (count === 0) return false;
    if (this.#ended)
      throw new ChannelError('ERR_CHANNEL_ORDER', `bytes follow the end in ${this.#source.name}`);
    this.#wireBytes += count;
    this.#reader.received(count);
    await this.#handle();
    return true;
  }

  /** Handles all frames that are there. */
  async #handle(): Promise<void> {
    for (let frame = this.#parked.shift(); frame !== undefined; frame = this.#parked.shift()) {
      if (this.#ended || frame.sequence !== this.#messages + 1) throw outOfOrder(frame);
      if (frame.kind === controlMessages.BYE.number) this.#goodbye(frame);
      else await this.#deliver(frame);
      this.#reader.release(frame);
    }
    if (this.#ended && this.#reader.midFrame)
      throw new ChannelError('ERR_CHANNEL_ORDER', 'bytes follow the end');
  }

  async #deliver(frame: ParkedFrame): Promise<void> {
    const payload = frame.flags === 0 ? frame.payload : await inflate(frame);
    this.#messages += 1;
    this.#rawBytes += payload.length;
    const { message, body } = messageCodec.decode(frame.kind, payload, 'sender');
    await this.#handler(message, body);
  }

  #goodbye({ kind, payload }: ParkedFrame): void {
    const { message }: { message: ControlMessage } = controlCodec.decode(kind, payload, 'sender');
    this.#ended =
      message.kind === 'BYE' &&
      message.messages === BigInt(this.#messages) &&
      message.bytes === BigInt(this.#rawBytes);
    if (this.#ended) return;
    throw new ChannelError('ERR_CHANNEL_ORDER', 'the totals at the end differ from what is there');
  }
}

function outOfOrder({ kind, sequence }: ParkedFrame): ChannelError {
  const why = `${frameName(kind)} with number ${sequence} is out of place: messages were lost, repeated or moved`;
  return new ChannelError('ERR_CHANNEL_ORDER', why);
}
