import { type Channel, ChannelError, type Message, type MessageKind } from '../channel/index.ts';
import type { Clock } from './clock.ts';
import { reasonFromJson } from './side-report.ts';
import type { EndName } from './step.ts';
import { messageOf, StepError } from './step-error.ts';

/** Takes a message that is not for the sequence, such as data. True: taken. A promise: not yet, wait before the next. */
export type Stream = (message: Message, body: Uint8Array) => boolean | Promise<void>;

/** How long a conversation waits, and with whom it is. */
export interface ConversationOptions {
  readonly clock: Clock;
  /** The side on the other end of the channel. */
  readonly peer: EndName;
  /** How long an answer may take, in milliseconds. */
  readonly answerMs: number;
  readonly stream: Stream;
  /** Called for each message in both directions, except data. */
  readonly told: (direction: 'sent' | 'received', kind: MessageKind) => void;
}

interface Waiter {
  readonly kinds: readonly MessageKind[];
  /** What else may come, and is of no interest. */
  readonly skip: boolean;
  resolve(message: Message): void;
  reject(error: StepError): void;
}

/** Messages that nobody waits for yet. A peer that sends more breaks the rules. */
const MAX_WAITING = 64;

/** What one side says and hears, over a channel that may be replaced. */
export class Conversation {
  readonly #options: ConversationOptions;
  readonly #inbox: Message[] = [];
  #channel: Channel;
  #waiter: Waiter | null = null;
  #broken: StepError | null = null;
  #ended: StepError | null = null;
  #listener: ((error: StepError) => void) | null = null;

  constructor(channel: Channel, options: ConversationOptions) {
    this.#options = options;
    this.#channel = channel;
    this.#adopt(channel);
  }

  get channel(): Channel {
    return this.#channel;
  }

  /** Goes on over another channel. What was said over the old one and not heard is forgotten. */
  replace(channel: Channel): void {
    this.#ended = null;
    this.#inbox.length = 0;
    this.#channel = channel;
    this.#adopt(channel);
  }

  /** Sends a message. Null: there is room for more at once. Throws StepError. */
  say(message: Message, body?: Uint8Array): Promise<void> | null {
    if (body === undefined) this.#options.told('sent', message.kind);
    try {
      return this.#channel.send(message, body);
    } catch (error) {
      // Who has left may have said why.
      throw this.#abort() ?? this.#channelError(error);
    }
  }

  /** The next message, which has to be one of `kinds`. Rejects with StepError. `patient`: as long as the channel lives. */
  hear(kinds: readonly MessageKind[], mode: { patient: boolean; skip: boolean }): Promise<Message> {
    return new Promise((resolve, reject) => {
      const { clock, answerMs, peer } = this.#options;
      const late = (): void => {
        const message = `the ${peer} did not answer for ${answerMs} ms`;
        settled.reject(new StepError('ERR_STEP_TIMEOUT', peer, message));
      };
      const timer = mode.patient ? null : clock.after(answerMs, late);
      const end = (): void => {
        timer?.close();
        this.#waiter = null;
      };
      const settled: Waiter = {
        kinds,
        skip: mode.skip,
        resolve: (message) => {
          end();
          resolve(message);
        },
        reject: (error) => {
          end();
          reject(error);
        },
      };
      this.#waiter = settled;
      this.#serve();
    });
  }

  /** Makes whoever waits, or waits next, fail: what came in can't be used. */
  fail(error: StepError): void {
    this.#broken ??= error;
    this.#serve();
  }

  /** Makes whoever waits now fail; whoever waits next hears what comes. */
  interrupt(error: StepError): void {
    this.#waiter?.reject(error);
  }

  /** Calls `listener` as soon as the other side gives up or can't be heard; null: nobody listens. */
  watch(listener: ((error: StepError) => void) | null): void {
    this.#listener = listener;
    const known = this.#ended ?? this.#abort();
    if (known !== null) listener?.(known);
  }

  #adopt(channel: Channel): void {
    channel.receive((message, body) => {
      if (channel === this.#channel) return this.#accept(message, body);
    });
    void channel.closed.then(({ error }) => {
      if (channel !== this.#channel) return;
      this.#ended = error === null ? this.#left() : this.#channelError(error);
      this.#listener?.(this.#ended);
      this.#serve();
    });
  }

  #accept(message: Message, body: Uint8Array): void | Promise<void> {
    const taken = this.#options.stream(message, body);
    if (taken === true) return;
    if (taken !== false) return taken;
    this.#options.told('received', message.kind);
    if (this.#inbox.length >= MAX_WAITING) return this.fail(this.#rude(message));
    this.#inbox.push(message);
    const abort = this.#abort();
    if (abort !== null) this.#listener?.(abort);
    this.#serve();
  }

  #abort(): StepError | null {
    const message = this.#inbox.find(({ kind }) => kind === 'ABORT');
    return message?.kind === 'ABORT' ? reasonFromJson(message.reason, this.#options.peer) : null;
  }

  /** Gives the waiter what there is. */
  #serve(): void {
    const waiter = this.#waiter;
    if (waiter === null) return;
    if (this.#broken !== null) {
      const error = this.#broken;
      this.#broken = null;
      return waiter.reject(error);
    }
    for (let message = this.#inbox.shift(); message !== undefined; message = this.#inbox.shift()) {
      if (waiter.kinds.includes(message.kind)) return waiter.resolve(message);
      if (message.kind === 'ABORT' && !waiter.skip) {
        return waiter.reject(reasonFromJson(message.reason, this.#options.peer));
      }
      if (!waiter.skip) return waiter.reject(this.#rude(message));
    }
    if (this.#ended !== null) waiter.reject(this.#ended);
  }

  #rude({ kind }: Message): StepError {
    const { peer } = this.#options;
    return new StepError(
      'ERR_PEER_PROTOCOL',
      peer,
      `the ${peer} said ${kind} when it had nothing to say of that`,
    );
  }

  #left(): StepError {
    return new StepError('ERR_PEER_LEFT', 'channel', `the ${this.#options.peer} has ended the conversation`);
  }

  #channelError(error: unknown): StepError {
    const text = `the connection to the ${this.#options.peer} is lost: ${messageOf(error)}`;
    if (!(error instanceof ChannelError)) return new StepError('ERR_STEP_FAILED', 'channel', text, error);
    if (error.code === 'ERR_CHANNEL_MESSAGE')
      return new StepError('ERR_STEP_FAILED', 'caller', error.message, error);
    return new StepError(
      error.code === 'ERR_CHANNEL_CLOSED' ? 'ERR_PEER_LEFT' : 'ERR_CHANNEL_LOST',
      'channel',
      text,
      error,
    );
  }
}
