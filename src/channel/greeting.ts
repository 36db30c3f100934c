import { ChannelError } from './channel-error.ts';
import {
  type ControlMessage,
  controlCodec,
  controlMessages,
  type GreetingMessage,
} from './control-messages.ts';
import { connectionCut } from './failures.ts';
import { type Crc32, FIRST_SEED, FRAME_HEADER_SIZE, FrameHeader, writeFrameHeader } from './frame.ts';
import { frameName, readFrameHeader } from './frame-check.ts';
import type { ChannelRole } from './kind.ts';
import { MAX_FAILURE_TEXT, MAX_FIXED } from './limits.ts';
import type { Link, LinkBuffer, LinkPeer } from './link.ts';

/** Room for the largest frame of a greeting. */
const ROOM = FRAME_HEADER_SIZE + Math.max(MAX_FIXED, MAX_FAILURE_TEXT);

/** The first frame of one direction of a connection, or a refusal in its place. */
export function encodeGreeting(message: ControlMessage, role: ChannelRole, crc32: Crc32): Uint8Array {
  const head = controlCodec.encode(message, 0, role, new Uint8Array(MAX_FIXED));
  const bytes = new Uint8Array(FRAME_HEADER_SIZE + head.length);
  const checksum = crc32(head, FIRST_SEED);
  const { number: kind } = controlMessages[message.kind];
  const lengths = { length: head.length, rawLength: head.length };
  const fields = { kind, flags: 0, place: 0, ...lengths, sequence: 0, checksum };
  writeFrameHeader(bytes, new DataView(bytes.buffer), fields, crc32, FIRST_SEED);
  bytes.set(head, FRAME_HEADER_SIZE);
  return bytes;
}

/** The other side's first frame. */
export interface ReceivedGreeting {
  readonly message: GreetingMessage;
  /** What came behind it. */
  readonly early: Uint8Array;
}

/** What is expected. */
export interface GreetingExpectation {
  readonly kind: GreetingMessage['kind'];
  /** Who speaks. */
  readonly from: ChannelRole;
  readonly crc32: Crc32;
  readonly timeoutMs: number;
}

/**
 * Waits for the first frame on a link, within bounded time and memory. Afterwards the link is silent until it is
 * started again; the caller destroys it when this rejects.
 */
export function readGreeting(link: Link, expected: GreetingExpectation): Promise<ReceivedGreeting> {
  return new Promise((resolve, reject) => {
    const buffer = new GreetingBuffer();
    const late = `${link.peer.address} did not send ${expected.kind} in ${expected.timeoutMs} ms`;
    const timer = setTimeout(() => fail(new ChannelError('ERR_CHANNEL_TIMEOUT', late)), expected.timeoutMs);
    const fail = (error: unknown): void => {
      clearTimeout(timer);
      buffer.done = true;
      reject(error);
    };
    const received = (count: number): void => {
      if (buffer.done) return;
      buffer.offset += count;
      try {
        const greeting = buffer.parse(expected);
        if (greeting === null) return;
        clearTimeout(timer);
        buffer.done = true;
        resolve(greeting);
      } catch (error) {
        fail(error);
      }
    };
    link.start(buffer, {
      received,
      ended: () => fail(hungUp(link.peer, buffer.offset > 0, expected.kind)),
      failed: (error) => fail(connectionCut(link.peer, buffer.offset > 0, error)),
      writable: () => {},
    });
  });
}

/** Where a greeting gathers: no larger than one can be. */
export class GreetingBuffer implements LinkBuffer {
  readonly buffer = new Uint8Array(ROOM);
  offset = 0;
  done = false;

  get room(): number {
    return this.done ? 0 : ROOM - this.offset;
  }

  put(bytes: Uint8Array): void {
    this.buffer.set(bytes, this.offset);
  }

  /** How far it has to be filled before more is known. */
  get needed(): number {
    if (this.offset < FRAME_HEADER_SIZE) return FRAME_HEADER_SIZE;
    const length = new DataView(this.buffer.buffer).getUint32(FrameHeader.at.length, true);
    return Math.min(FRAME_HEADER_SIZE + length, ROOM);
  }

  /** The greeting once it is whole; null when more is needed. @throws ChannelError */
  parse({ kind, from, crc32 }: Omit<GreetingExpectation, 'timeoutMs'>): ReceivedGreeting | null {
    if (this.offset < FRAME_HEADER_SIZE) {
      this.#checkMark();
      return null;
    }
    const view = new DataView(this.buffer.buffer);
    const frame = readFrameHeader(this.buffer, view, 0, 0, crc32, FIRST_SEED);
    const wanted =
      frame.kind === controlMessages[kind].number || frame.kind === controlMessages.FAILURE.number;
    if (!wanted)
      throw new ChannelError('ERR_CHANNEL_ORDER', `${frameName(frame.kind)} came instead of ${kind}`);
    const end = FRAME_HEADER_SIZE + frame.length;
    if (this.offset < end) return null;
    const payload = this.buffer.subarray(FRAME_HEADER_SIZE, end);
    if (crc32(payload, FIRST_SEED) !== frame.checksum) {
      throw new ChannelError('ERR_CHANNEL_CHECKSUM', `${frameName(frame.kind)} was changed on the way`);
    }
    const { message } = controlCodec.decode(frame.kind, payload, from);
    if (message.kind === 'FAILURE') throw refused(message.text);
    if (message.kind !== kind)
      throw new ChannelError('ERR_CHANNEL_ORDER', `${message.kind} came instead of ${kind}`);
    return { message, early: this.buffer.slice(end, this.offset) };
  }

  /** Whoever is no Ferry at all is known by the first bytes. */
  #checkMark(): void {
    const mark = [0x89, 0x46, 0x43, 0x48];
    const other = mark.findIndex((byte, index) => index < this.offset && this.buffer[index] !== byte);
    if (other < 0) return;
    throw new ChannelError(
      'ERR_CHANNEL_VERSION',
      'this is no Ferry channel: its first bytes are not a frame',
    );
  }
}

/** Whoever calls a side that wants TLS without it is hung up on, and told nothing. */
function hungUp(peer: LinkPeer, midFrame: boolean, kind: GreetingMessage['kind']): ChannelError {
  const error = connectionCut(peer, midFrame, null);
  if (kind !== 'WELCOME' || peer.carrier !== 'tcp' || midFrame) return error;
  const message = `${peer.address} hung up without a word; if it wants TLS, name certificates`;
  return new ChannelError(error.code, message, { context: { address: peer.address } });
}

function refused(text: string): ChannelError {
  return new ChannelError('ERR_CHANNEL_REFUSED', `the other side does not want this connection: ${text}`);
}
