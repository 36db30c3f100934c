import type { Channel, ChannelEnd, ChannelPeer, ChannelStatistics, MessageHandler } from './channel.ts';
import { ChannelError } from './channel-error.ts';
import type { ChannelSettings } from './channel-options.ts';
import { chooseCompression } from './compression.ts';
import { Connection } from './connection.ts';
import { type ControlMessage, controlCodec, controlMessages, RoleNumber } from './control-messages.ts';
import { Dispatch, MANNERS } from './dispatch.ts';
import { Ending } from './ending.ts';
import { asChannelError } from './failures.ts';
import { type Checksums, seedOf } from './frame.ts';
import type { ChannelRole } from './kind.ts';
import { MAX_FAILURE_TEXT, MAX_FIXED } from './limits.ts';
import type { Link } from './link.ts';
import { messageCodec } from './message-codec.ts';
import { type Message, messages } from './messages.ts';
import { Reassembly } from './reassembly.ts';
import { sumStatistics } from './statistics.ts';

/** How often there is a sign of life in the time after which silence is a failure. */
const TICKS = 4;
/** How many ticks nothing may move; a stream tells only when a whole frame is out, which takes long on a slow line. */
const STUCK_TICKS = { fd: TICKS, stream: 6 * TICKS };
/** How long the other side may take to hang up after both have said goodbye, in milliseconds. */
const HANG_UP_MS = 2000;
const NOTHING = new Uint8Array(0);

/** A link whose greeting is over. */
export interface GreetedLink {
  readonly link: Link;
  /** Number of the connection. */
  readonly index: number;
  /** What the other side allows to be on the way, in bytes. */
  readonly window: number;
  /** What came after the greeting. */
  readonly early: Uint8Array;
}

/** What a channel is made of. */
export interface StreamChannelOptions extends ChannelSettings, Checksums {
  readonly role: ChannelRole;
  readonly peer: ChannelPeer;
  readonly session: string;
  /** What we allow to be on the way on each connection, in bytes. */
  readonly window: number;
  /** Whether both sides have zstd. */
  readonly zstd: boolean;
  readonly links: readonly GreetedLink[];
}

/** A channel over one or several connections. */
export class StreamChannel implements Channel {
  readonly peer: ChannelPeer;
  readonly #options: StreamChannelOptions;
  readonly #connections: readonly Connection[];
  readonly #dispatch: Dispatch;
  readonly #reassembly: Reassembly;
  readonly #ending = new Ending();
  readonly #scratch = new Uint8Array(MAX_FIXED);
  readonly #ticker: NodeJS.Timeout;
  #hangUp: NodeJS.Timeout | null = null;
  /** Messages that were taken from the caller, and the bytes of their payloads. */
  #taken = 0;
  #takenBytes = 0;
  #closing = false;
  #peerDone = false;
  #idleTicks = 0;
  #progress = 0;

  constructor(options: StreamChannelOptions) {
    this.peer = options.peer;
    this.#options = options;
    const connections = options.links.map((link) => this.#connect(link));
    this.#connections = connections;
    this.#dispatch = new Dispatch({
      connections,
      mode: options.compression,
      compression: chooseCompression(options.zstd),
      drained: () => this.#finish(),
    });
    this.#reassembly = new Reassembly({
      connections,
      from: options.role === 'sender' ? 'receiver' : 'sender',
      ended: () => this.#goodbye(),
      failed: (error) => this.#fail(error),
    });
    this.#ticker = setInterval(() => this.#tick(), options.silenceMs / TICKS);
    this.#ticker.unref();
    for (const [index, { early }] of options.links.entries()) connections[index]?.start(early);
  }

  send(message: Message, body: Uint8Array = NOTHING): Promise<void> | null {
    this.#requireOpen();
    const head = messageCodec.encode(message, body.length, this.#options.role, this.#scratch);
    const { number, tail } = messages[message.kind];
    const manner = tail.tail === 'body' && tail.live ? MANNERS.live : MANNERS.still;
    this.#dispatch.send(number, head, body.length === 0 ? null : body, manner);
    this.#taken += 1;
    this.#takenBytes += head.length + body.length;
    return this.#dispatch.pressure();
  }

  receive(handler: MessageHandler): void {
    this.#reassembly.receive(handler);
  }

  close(): Promise<ChannelEnd> {
    if (this.#ending.end === null && !this.#closing) this.#sayBye();
    return this.closed;
  }

  abort(reason: string): void {
    this.#fail(new ChannelError('ERR_CHANNEL_ABORTED', `given up: ${reason}`), reason);
  }

  get closed(): Promise<ChannelEnd> {
    return this.#ending.promise;
  }

  get statistics(): ChannelStatistics {
    const each = this.#connections.map((connection) => connection.statistics);
    return sumStatistics(each, this.#dispatch.queued);
  }

  limitRate(bytesPerSecond: number | null): void {
    this.#dispatch.limitRate(bytesPerSecond);
  }

  #connect({ link, index, window }: GreetedLink): Connection {
    const { crc32, crc32Copy, role, session, window: ours } = this.#options;
    const connection = new Connection(link, {
      crc32,
      crc32Copy,
      role,
      window: ours,
      events: {
        control: (message) => this.#control(message),
        arrived: (from, frame) => this.#reassembly.arrived(from, frame),
        writable: () => this.#dispatch.drain(),
        failed: (error) => this.#connectionFailed(asChannelError(error)),
      },
    });
    const other = role === 'sender' ? RoleNumber.receiver : RoleNumber.sender;
    const seeds = {
      sent: seedOf(crc32, session, index, RoleNumber[role]),
      received: seedOf(crc32, session, index, other),
    };
    connection.greeted(seeds, window);
    return connection;
  }

  #control(message: ControlMessage): void {
    if (message.kind !== 'FAILURE') {
      throw new ChannelError('ERR_CHANNEL_ORDER', `${message.kind} came in the middle of the stream`);
    }
    const text = `the other side has given up: ${message.text}`;
    this.#fail(new ChannelError('ERR_CHANNEL_ABORTED', text), null);
  }

  #sayBye(): void {
    this.#closing = true;
    const bye = { kind: 'BYE', messages: BigInt(this.#taken), bytes: BigInt(this.#takenBytes) } as const;
    const head = controlCodec.encode(bye, 0, this.#options.role, this.#scratch);
    this.#dispatch.send(controlMessages.BYE.number, head, null, MANNERS.control);
  }

  /** The other side has said goodbye. It hangs up when it has ours; if ours came first, we do. */
  #goodbye(): void {
    this.#peerDone = true;
    if (this.#closing) return this.#finish();
    this.#hangUp = setTimeout(() => this.#end(), HANG_UP_MS);
    this.#sayBye();
  }

  #finish(): void {
    if (this.#peerDone && this.#closing && this.#hangUp === null && this.#dispatch.queued === 0) this.#end();
  }

  #end(): void {
    if (this.#ending.settle(null)) this.#tearDown(true);
  }

  #connectionFailed(error: ChannelError): void {
    const hungUp = error.code === 'ERR_CHANNEL_CUT' && this.#peerDone && this.#dispatch.queued === 0;
    if (hungUp) this.#end();
    else this.#fail(error);
  }

  /** Ends it with an error; `told` is what the other side is told, null: nothing. */
  #fail(error: ChannelError, told: string | null = error.message): void {
    if (!this.#ending.settle(error)) return;
    if (told !== null) {
      const text = Buffer.from(told)
        .subarray(0, MAX_FAILURE_TEXT / 2)
        .toString();
      for (const connection of this.#connections) {
        if (connection.pendingBytes === 0) connection.sendControl({ kind: 'FAILURE', text });
      }
    }
    this.#tearDown(told !== null);
  }

  #tearDown(orderly: boolean): void {
    clearInterval(this.#ticker);
    clearTimeout(this.#hangUp ?? undefined);
    this.#dispatch.stop();
    this.#reassembly.stop();
    for (const connection of this.#connections) connection.close(orderly);
  }

  #tick(): void {
    const { silenceMs } = this.#options;
    for (const connection of this.#connections) {
      connection.tick();
      const { quiet, stuck } = connection.silence;
      const { address } = connection.link.peer;
      // The first of them may have begun just before.
      if (quiet > TICKS) {
        const why = `nothing came from ${address} for ${silenceMs} ms: the other side or the network is dead`;
        return this.#fail(new ChannelError('ERR_CHANNEL_SILENT', why));
      }
      if (stuck >= STUCK_TICKS[connection.link.kind]) {
        const why = `${address} takes nothing although it lives`;
        return this.#fail(new ChannelError('ERR_CHANNEL_STALLED', why));
      }
    }
    this.#watchClosing();
  }

  /** Notices a side that lives but never answers the goodbye. */
  #watchClosing(): void {
    if (!this.#closing) return;
    const { silenceMs, closeMs } = this.#options;
    const progress = this.#connections.reduce(
      (sum, { onTheWay }) => sum - onTheWay,
      this.#reassembly.delivered - this.#dispatch.queued,
    );
    this.#idleTicks = progress === this.#progress ? this.#idleTicks + 1 : 0;
    this.#progress = progress;
    if (this.#idleTicks * (silenceMs / TICKS) < closeMs) return;
    const why = `${this.peer.address} did not answer the end of the stream in ${closeMs} ms`;
    this.#fail(new ChannelError('ERR_CHANNEL_TIMEOUT', why));
  }

  #requireOpen(): void {
    const { end } = this.#ending;
    if (end === null && !this.#closing) return;
    throw end?.error ?? new ChannelError('ERR_CHANNEL_CLOSED', 'the channel is closed');
  }
}
