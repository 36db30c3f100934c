import type { Compression } from './compression.ts';
import { type CompressionMode, CompressionPolicy } from './compression-policy.ts';
import type { Connection } from './connection.ts';
import { FRAME_HEADER_SIZE } from './frame.ts';
import type { OutgoingFrame } from './frame-writer.ts';
import { Gate } from './gate.ts';
import { MAX_PAYLOAD } from './limits.ts';
import { LinkMeter } from './link-meter.ts';
import { Outbox } from './outbox.ts';
import { RateLimiter } from './rate-limiter.ts';

/** How much may wait while frames are being compressed: some for each thread. */
const COMPRESSION_QUEUE = 4 * 1024 * 1024;
const MAX_FRAME = FRAME_HEADER_SIZE + MAX_PAYLOAD;

/** What is to be known of a message to send it. */
export interface Manner {
  readonly compressible: boolean;
  /** Its body may change at any time. */
  readonly live: boolean;
}

/** Messages of the engine, whose body may change or not, and the channel's own. */
export const MANNERS = {
  still: { compressible: true, live: false },
  live: { compressible: true, live: true },
  control: { compressible: false, live: false },
} as const satisfies Readonly<Record<string, Manner>>;

/** How messages are sent. */
export interface DispatchOptions {
  readonly connections: readonly Connection[];
  readonly mode: CompressionMode;
  readonly compression: Compression;
  /** Called when messages that waited have gone. */
  readonly drained: () => void;
}

/**
 * Gives messages their place in the order and spreads them over the connections, within the windows of the other side
 * and the limit of the rate. Straight from the caller's memory to the connection where nothing waits.
 */
export class Dispatch {
  readonly #options: DispatchOptions;
  readonly #outbox: Outbox;
  readonly #policy: CompressionPolicy;
  readonly #limiter = new RateLimiter();
  readonly #meter = new LinkMeter();
  readonly #room = new Gate();
  #pause: NodeJS.Timeout | null = null;
  #sequence = 0;
  #stopped = false;

  constructor(options: DispatchOptions) {
    this.#options = options;
    this.#policy = new CompressionPolicy(options.mode);
    this.#outbox = new Outbox(options.compression, this.#policy, () => this.drain());
  }

  /** Bytes that wait here or at the connections. */
  get queued(): number {
    return this.#options.connections.reduce(
      (sum, { pendingBytes }) => sum + pendingBytes,
      this.#outbox.bytes,
    );
  }

  /** Takes a payload; when it can't be sent at once, its copy waits. @throws ChannelError ERR_CHANNEL_OVERRUN */
  send(kind: number, head: Uint8Array, body: Uint8Array | null, manner: Manner): void {
    const size = head.length + (body?.length ?? 0);
    if (manner.compressible && this.#policy.wants(size, { congested: this.#full, rate: this.#linkRate })) {
      this.#outbox.push(kind, head, body, true);
      return;
    }
    const connection = this.#outbox.empty ? this.#pick(size) : null;
    if (connection === null) this.#outbox.push(kind, head, body, false);
    else this.#transmit(connection, { kind, flags: 0, rawLength: size, head, body, live: manner.live });
    this.#measure();
  }

  /** Null when there is room for more, otherwise when there will be. */
  pressure(): Promise<void> | null {
    return this.#full ? this.#room.wait() : null;
  }

  /** Sends what waits as far as it can. */
  drain(): void {
    if (this.#stopped) return;
    for (let next = this.#outbox.next; next !== null; next = this.#outbox.next) {
      const connection = this.#pick(next.head.length);
      if (connection === null) break;
      this.#outbox.shift();
      this.#transmit(connection, next);
    }
    this.#measure();
    if (!this.#full) this.#room.open();
    this.#options.drained();
  }

  limitRate(bytesPerSecond: number | null): void {
    this.#limiter.set(bytesPerSecond);
    this.#endPause();
  }

  /** Drops what waits and lets everybody go who waits for room. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#pause ?? undefined);
    this.#outbox.clear();
    this.#room.open();
  }

  #transmit(connection: Connection, frame: OutgoingFrame): void {
    this.#sequence += 1;
    this.#limiter.spend(FRAME_HEADER_SIZE + frame.head.length + (frame.body?.length ?? 0));
    connection.send(frame, this.#sequence);
  }

  /** The connection over which a payload of so many bytes can go now; null: it has to wait. */
  #pick(size: number): Connection | null {
    if (this.#mustPause()) return null;
    let best: Connection | null = null;
    for (const connection of this.#options.connections) {
      if (connection.blocked || connection.credit < FRAME_HEADER_SIZE + size) continue;
      if (best === null || connection.onTheWay < best.onTheWay) best = connection;
    }
    return best;
  }

  /** Whether the limit of the rate says to wait; then it goes on by itself. */
  #mustPause(): boolean {
    if (this.#pause !== null) return true;
    const ms = this.#limiter.wait();
    if (ms > 0) this.#pause = setTimeout(() => this.#endPause(), ms);
    return ms > 0;
  }

  #endPause(): void {
    clearTimeout(this.#pause ?? undefined);
    this.#pause = null;
    this.drain();
  }

  /** Whether a further message would have to wait. */
  get #full(): boolean {
    if (this.#stopped) return false;
    if (this.#outbox.bytes > (this.#outbox.compressing ? COMPRESSION_QUEUE : 0)) return true;
    if (this.#mustPause()) return true;
    return this.#options.connections.every(({ blocked, credit }) => blocked || credit < MAX_FRAME);
  }

  /** Bytes per millisecond that can leave; null: not known. */
  get #linkRate(): number | null {
    const { rate } = this.#meter;
    if (this.#limiter.rate === null) return rate;
    return Math.min(this.#limiter.rate / 1000, rate ?? Number.POSITIVE_INFINITY);
  }

  #measure(): void {
    if (this.#options.mode !== 'auto') return;
    const gone = this.#options.connections.reduce((sum, { gone }) => sum + gone, 0);
    this.#meter.note(performance.now(), gone, this.#room.awaited || this.queued > 0);
  }
}
