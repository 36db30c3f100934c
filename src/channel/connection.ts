import type { ConnectionStatistics } from './channel.ts';
import { type ControlMessage, controlCodec, controlMessages, isOrdered } from './control-messages.ts';
import { connectionCut, impossibleCredit } from './failures.ts';
import { type Checksums, FRAME_HEADER_SIZE } from './frame.ts';
import { FrameReader, type ParkedFrame } from './frame-reader.ts';
import { FrameWriter, type OutgoingFrame } from './frame-writer.ts';
import type { ChannelRole } from './kind.ts';
import { MAX_FIXED, MAX_PAYLOAD } from './limits.ts';
import type { Link } from './link.ts';

const MAX_FRAME = FRAME_HEADER_SIZE + MAX_PAYLOAD;

/** What a connection tells its owner. */
export interface ConnectionEvents {
  /** A control message that belongs to this connection. */
  control(message: ControlMessage): void;
  /** A frame of a message is at the head of {@link Connection.parked}, or behind it. */
  arrived(connection: Connection, frame: ParkedFrame): void;
  /** Everything is out that was to be sent, or there is credit again. */
  writable(): void;
  failed(error: unknown): void;
}

/** How a connection is set up. */
export interface ConnectionOptions extends Checksums {
  readonly role: ChannelRole;
  /** Bytes of frames of messages that the other side may have on the way. */
  readonly window: number;
  readonly events: ConnectionEvents;
}

/**
 * How many bytes are handled before the other side is told. Rarely, since that interrupts it; but of a small window
 * sooner, so that one of the largest frames can come while another is handled.
 */
function creditStepOf(window: number): number {
  return window < 3 * MAX_FRAME ? window / 4 : window / 2;
}

/** One link as a sequence of frames in each direction: cut, checked, counted, within the window. */
export class Connection {
  readonly link: Link;
  /** Frames of messages in the order in which they came. */
  readonly parked: ParkedFrame[] = [];
  /** Bytes of frames of messages that may still be sent; the other side's window at first. */
  credit = 0;
  readonly #options: ConnectionOptions;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;
  readonly #scratch = new Uint8Array(MAX_FIXED);
  readonly #creditStep: number;
  #window = 0;
  /** Bytes of frames of messages: sent, acknowledged by CREDIT, handled here, and acknowledged by us. */
  #sent = 0;
  #acknowledged = 0;
  #handled = 0;
  #credited = 0;
  readonly #counts = {
    ...{ framesSent: 0, framesReceived: 0, rawSent: 0, rawReceived: 0, wireSent: 0, wireReceived: 0 },
  };
  /** Signs of life since the last {@link tick}, and ticks without any. */
  #sentLately = false;
  #heardLately = true;
  #left = 0;
  #quietTicks = 0;
  #stuckTicks = 0;
  #closed = false;

  constructor(link: Link, options: ConnectionOptions) {
    this.link = link;
    this.#options = options;
    this.#creditStep = creditStepOf(options.window);
    this.#writer = new FrameWriter(link, options);
    this.#reader = new FrameReader({
      window: options.window,
      crc32: options.crc32,
      crc32Copy: options.crc32Copy,
      accept: (frame) => this.#accept(frame),
    });
  }

  get statistics(): ConnectionStatistics {
    return { ...this.#counts };
  }

  /** Bytes that the link has not taken yet. */
  get pendingBytes(): number {
    return this.#writer.pendingBytes;
  }

  /** Whether a frame would have to wait here, or has too many before it in the link. */
  get blocked(): boolean {
    return this.pendingBytes > 0 || this.link.full;
  }

  /** Bytes that the link has taken so far. */
  get gone(): number {
    return this.#counts.wireSent - this.pendingBytes;
  }

  /** Bytes on the way: sent and not yet handled by the other side. */
  get onTheWay(): number {
    return this.#sent - this.#acknowledged;
  }

  /** Ticks during which nothing was heard, and during which the link took nothing of what is pending. */
  get silence(): { readonly quiet: number; readonly stuck: number } {
    return { quiet: this.#quietTicks, stuck: this.#stuckTicks };
  }

  /** Starts to read; `early`: bytes that came before, which the link must not overwrite with what comes now. */
  start(early: Uint8Array = new Uint8Array(0)): void {
    for (let at = 0; at < early.length && !this.#closed; ) {
      const count = Math.min(this.#reader.room, early.length - at);
      this.#reader.buffer.set(early.subarray(at, at + count), this.#reader.offset);
      at += count;
      this.#received(count);
    }
    if (this.#closed) return;
    this.link.start(this.#reader, {
      received: (count) => this.#received(count),
      ended: () => this.#fail(connectionCut(this.link.peer, this.#reader.midFrame, null)),
      failed: (error) => this.#fail(connectionCut(this.link.peer, this.#reader.midFrame, error)),
      writable: () => this.#flush(),
    });
    // What did not fit meanwhile waits for a word of the link, which speaks to nobody before it is started.
    if (this.pendingBytes > 0) this.#flush();
  }

  /** The greeting is over: its frames were number 0 in both directions. */
  greeted(seeds: { readonly sent: number; readonly received: number }, window: number): void {
    this.#writer.seed = seeds.sent;
    this.#writer.place = 1;
    this.#reader.seed = seeds.received;
    this.#reader.frames = 1;
    this.#window = window;
    this.credit = window;
  }

  /** Sends a frame of a message (or BYE). It is taken in any case; what the link does not take waits here. */
  send(frame: OutgoingFrame, sequence: number): void {
    const size = FRAME_HEADER_SIZE + frame.head.length + (frame.body?.length ?? 0);
    this.#sent += size;
    this.credit -= size;
    this.#counts.rawSent += frame.rawLength;
    this.#write(frame, sequence);
  }

  /** Sends one of the channel's own messages, whatever the window says. */
  sendControl(message: ControlMessage): void {
    if (this.#closed) return;
    const head = controlCodec.encode(message, 0, this.#options.role, this.#scratch);
    const kind = controlMessages[message.kind].number;
    this.#write({ kind, flags: 0, rawLength: head.length, head, body: null, live: false }, 0);
  }

  /** The frame at the head of {@link parked} has been handled. */
  release(): void {
    const frame = this.parked.shift();
    if (frame === undefined) return;
    this.#reader.release(frame);
    this.#handled += FRAME_HEADER_SIZE + frame.payload.length;
    if (this.#handled - this.#credited < this.#creditStep) return;
    this.#credited = this.#handled;
    this.sendControl({ kind: 'CREDIT', bytes: BigInt(this.#handled) });
  }

  /** To be called at regular times: sends a sign of life where nothing else was sent, and counts silent ticks. */
  tick(): void {
    if (!this.#sentLately && this.pendingBytes === 0) this.sendControl({ kind: 'ALIVE' });
    this.#sentLately = false;
    this.#quietTicks = this.#heardLately ? 0 : this.#quietTicks + 1;
    this.#heardLately = false;
    this.#stuckTicks = this.link.left !== this.#left || !this.blocked ? 0 : this.#stuckTicks + 1;
    this.#left = this.link.left;
  }

  /** Ends it; in order: what has been sent goes out as far as the link has taken it. */
  close(orderly: boolean): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#writer.clear();
    this.parked.length = 0;
    if (orderly) this.link.end();
    else this.link.destroy();
  }

  #write(frame: OutgoingFrame, sequence: number): void {
    this.#counts.framesSent += 1;
    this.#counts.wireSent += this.#writer.write(frame, sequence);
    this.#sentLately = true;
  }

  #flush(): void {
    if (this.#writer.flush()) this.#options.events.writable();
  }

  #received(count: number): void {
    if (this.#closed) return;
    this.#counts.wireReceived += count;
    this.#heardLately = true;
    try {
      this.#reader.received(count);
    } catch (error) {
      this.#fail(error);
    }
  }

  #accept(frame: ParkedFrame): void {
    if (this.#closed) return;
    this.#counts.framesReceived += 1;
    if (!isOrdered(frame.kind)) return this.#acceptControl(frame);
    this.#counts.rawReceived += frame.rawLength;
    this.parked.push(frame);
    this.#options.events.arrived(this, frame);
  }

  #acceptControl(frame: ParkedFrame): void {
    const from = this.#options.role === 'sender' ? 'receiver' : 'sender';
    const { message } = controlCodec.decode(frame.kind, frame.payload, from);
    if (message.kind === 'CREDIT') this.#acceptCredit(message.bytes);
    else if (message.kind !== 'ALIVE') this.#options.events.control(message);
  }

  #acceptCredit(bytes: bigint): void {
    const total = Number(bytes);
    if (total < this.#acknowledged || total > this.#sent) throw impossibleCredit(total);
    this.#acknowledged = total;
    this.credit = this.#window - this.onTheWay;
    this.#options.events.writable();
  }

  #fail(error: unknown): void {
    if (!this.#closed) this.#options.events.failed(error);
  }
}
