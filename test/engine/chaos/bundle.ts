import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { settingsOf } from '../../../src/channel/channel-options.ts';
import type { MemoryPair, MemoryPairOptions } from '../../../src/channel/index.ts';
import type { Link, LinkBuffer, LinkEvents, LinkPeer } from '../../../src/channel/link.ts';
import { StreamChannel } from '../../../src/channel/stream-channel.ts';

/** Two sides that are joined by several connections, each of which can fail by itself. */
export interface Bundle extends MemoryPair {
  /** One connection is cut. */
  cutOne(index: number): void;
  /** One connection carries nothing more, and nobody is told. */
  stallOne(index: number): void;
  /** A byte of the next frame on one connection, towards the receiver or the sender, is not what it was. */
  corruptOne(index: number, towards: 'sender' | 'receiver'): void;
}

/** The least that a channel allows to be on the way, in bytes; about. */
const WINDOW = 2100 * 1024;

/** Joins two sides by `count` connections within the test, with all that the channel does on a network. */
export function bundle({ group, epoch }: MemoryPairOptions, count: number): Bundle {
  const wires = Array.from({ length: count }, () => new Wire());
  const session = randomBytes(16).toString('hex');
  const channel = (role: 'sender' | 'receiver'): StreamChannel => {
    const other = role === 'sender' ? 'receiver' : 'sender';
    return new StreamChannel({
      ...settingsOf({ compression: 'off' }),
      ...{ crc32, role, session, window: WINDOW, zstd: false },
      peer: { role: other, group, epoch, carrier: 'tcp', address: 'test', identity: null },
      links: wires.map((wire, index) => ({
        link: wire[role],
        index,
        window: WINDOW,
        early: new Uint8Array(),
      })),
    });
  };
  const [sender, receiver] = [channel('sender'), channel('receiver')];
  return {
    ...{ sender, receiver },
    cut: () => {
      for (const wire of wires) wire.cut();
    },
    cutOne: (index) => wires[index % count]?.cut(),
    stallOne: (index) => wires[index % count]?.stall(),
    corruptOne: (index, towards) => wires[index % count]?.[towards].corrupt(),
  };
}

/** Both ends of one connection. */
class Wire {
  readonly sender = new WireEnd();
  readonly receiver = new WireEnd();

  constructor() {
    this.sender.other = this.receiver;
    this.receiver.other = this.sender;
  }

  cut(): void {
    this.sender.hangUp();
    this.receiver.hangUp();
  }

  stall(): void {
    this.sender.isStalled = true;
    this.receiver.isStalled = true;
  }
}

class WireEnd implements Link {
  readonly peer: LinkPeer = { carrier: 'tcp', address: 'test', identity: null, fingerprint: null };
  readonly kind = 'fd';
  readonly staging = null;
  readonly full = false;
  left = 0;
  other: WireEnd | null = null;
  /** What it is given gets lost. */
  isStalled = false;
  #isCorrupt = false;
  #isClosed = false;
  #into: LinkBuffer | null = null;
  #events: LinkEvents | null = null;
  readonly #arriving: (Uint8Array | 'end')[] = [];

  start(into: LinkBuffer, events: LinkEvents): void {
    this.#into = into;
    this.#events = events;
    this.#deliverSoon();
  }

  write(head: Uint8Array, body: Uint8Array | null): number {
    const bytes = new Uint8Array(Buffer.concat([head, body ?? new Uint8Array()]));
    this.left += bytes.length;
    if (!this.isStalled && !this.#isClosed) this.other?.take(bytes);
    return bytes.length;
  }

  end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (!this.isStalled) this.other?.take('end');
  }

  destroy(): void {
    this.end();
  }

  hangUp(): void {
    if (this.#isClosed) return;
    this.take('end');
  }

  corrupt(): void {
    this.#isCorrupt = true;
  }

  take(piece: Uint8Array | 'end'): void {
    this.#arriving.push(piece);
    this.#deliverSoon();
  }

  #deliverSoon(): void {
    if (this.#arriving.length > 0) queueMicrotask(() => this.#deliver());
  }

  #deliver(): void {
    while (!this.#isClosed) {
      const [next] = this.#arriving;
      if (next === undefined) return;
      if (next === 'end') {
        this.#arriving.shift();
        this.#events?.ended();
        continue;
      }
      const into = this.#into;
      if (into === null || into.room === 0) return;
      const piece = next.subarray(0, into.room);
      if (piece.length === next.length) this.#arriving.shift();
      else this.#arriving[0] = next.subarray(piece.length);
      if (this.#isCorrupt) piece[piece.length - 1] = (piece.at(-1) ?? 0) ^ 0x40;
      this.#isCorrupt = false;
      into.buffer.set(piece, into.offset);
      this.#events?.received(piece.length);
    }
  }
}
