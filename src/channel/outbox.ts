import { ChannelError } from './channel-error.ts';
import type { Compression } from './compression.ts';
import { type CompressionPolicy, WORTHWHILE } from './compression-policy.ts';
import type { OutgoingFrame } from './frame-writer.ts';
import { MAX_QUEUED } from './limits.ts';

/** How many frames are compressed at once: as many as libuv has threads by default. */
const PARALLEL = 4;

/** A frame that waits for its turn. */
class Entry implements OutgoingFrame {
  readonly kind: number;
  readonly rawLength: number;
  readonly body = null;
  readonly live = false;
  head: Uint8Array;
  flags = 0;
  /** Whether it still has to be compressed, or is being compressed. */
  state: 'ready' | 'raw' | 'compressing';

  constructor(kind: number, payload: Uint8Array, compress: boolean) {
    this.kind = kind;
    this.rawLength = payload.length;
    this.head = payload;
    this.state = compress ? 'raw' : 'ready';
  }
}

/** What waits to be sent, in order; compressed on the way where that was asked for. */
export class Outbox {
  readonly #compression: Compression;
  readonly #policy: CompressionPolicy;
  readonly #ready: () => void;
  readonly #entries: Entry[] = [];
  #bytes = 0;
  #compressing = 0;

  /** `ready` is called when a frame has been compressed. */
  constructor(compression: Compression, policy: CompressionPolicy, ready: () => void) {
    this.#compression = compression;
    this.#policy = policy;
    this.#ready = ready;
  }

  /** Bytes that wait, before compression. */
  get bytes(): number {
    return this.#bytes;
  }

  get empty(): boolean {
    return this.#entries.length === 0;
  }

  /** Whether frames are being compressed: then several may wait. */
  get compressing(): boolean {
    return this.#compressing > 0;
  }

  /** The next frame; null when there is none, or it is not compressed yet. */
  get next(): OutgoingFrame | null {
    const [first] = this.#entries;
    return first?.state === 'ready' ? first : null;
  }

  /** Takes copies. @throws ChannelError ERR_CHANNEL_OVERRUN */
  push(kind: number, head: Uint8Array, body: Uint8Array | null, compress: boolean): void {
    const size = head.length + (body?.length ?? 0);
    if (this.#bytes + size > MAX_QUEUED) {
      throw new ChannelError('ERR_CHANNEL_OVERRUN', 'too much was sent without waiting for room');
    }
    const payload = new Uint8Array(size);
    payload.set(head);
    if (body !== null) payload.set(body, head.length);
    this.#entries.push(new Entry(kind, payload, compress));
    this.#bytes += size;
    this.#compress();
  }

  /** The next frame has been sent. */
  shift(): void {
    this.#bytes -= this.#entries.shift()?.rawLength ?? 0;
  }

  clear(): void {
    this.#entries.length = 0;
    this.#bytes = 0;
  }

  #compress(): void {
    while (this.#compressing < PARALLEL) {
      const entry = this.#entries.find(({ state }) => state === 'raw');
      if (entry === undefined) return;
      this.#compressOne(entry);
    }
  }

  #compressOne(entry: Entry): void {
    const started = performance.now();
    entry.state = 'compressing';
    this.#compressing += 1;
    const parallel = this.#compressing;
    this.#compression.compress(entry.head, (error, result) => {
      this.#compressing -= 1;
      entry.state = 'ready';
      const compressed = error === null ? result.length : entry.rawLength;
      this.#policy.measured({ raw: entry.rawLength, compressed, ms: performance.now() - started, parallel });
      if (error === null && compressed < entry.rawLength * WORTHWHILE) {
        entry.head = result;
        entry.flags = this.#compression.flag;
      }
      this.#compress();
      this.#ready();
    });
  }
}
