import { HEADER_SIZE, HeaderFlag, littleEndian, MessageType } from '../protocol/index.ts';

/**
 * One received message, decoded no further than its header. It is a cursor into the receive buffer: valid only
 * until the handler returns; what is needed later is copied.
 */
export class IncomingMessage {
  /** The buffer that holds the message, and a view of it. */
  bytes: Uint8Array = new Uint8Array(0);
  view: DataView = new DataView(new ArrayBuffer(0));
  /** Bounds of the payload in `bytes`. */
  start = 0;
  end = 0;
  /** Header fields. */
  id = 0;
  command = 0;
  flags = 0;
  error = 0;
  /** The fds that came with it. Whoever takes one out of here owns it; the rest is closed after the handler. */
  fds: number[] = [];

  /** Points the cursor at a whole message in `bytes[start...end]`, header included. */
  point(bytes: Uint8Array, view: DataView, start: number, end: number, fds: number[]): void {
    this.bytes = bytes;
    this.view = view;
    this.start = start + HEADER_SIZE;
    this.end = end;
    this.id = view.getUint16(start, littleEndian);
    this.command = view.getUint16(start + 2, littleEndian);
    this.flags = view.getUint32(start + 8, littleEndian);
    this.error = view.getUint32(start + 12, littleEndian);
    this.fds = fds;
  }

  /** Payload bytes after the header. */
  get length(): number {
    return this.end - this.start;
  }

  /** Whether this is a reply. */
  get isReply(): boolean {
    return (this.flags & HeaderFlag.TYPE_MASK) === MessageType.REPLY;
  }

  /** Whether this is a command. */
  get isCommand(): boolean {
    return (this.flags & HeaderFlag.TYPE_MASK) === MessageType.COMMAND;
  }

  /** Whether the sender wants no reply (a posted command). */
  get noReply(): boolean {
    return (this.flags & HeaderFlag.NO_REPLY) !== 0;
  }

  /** Whether this reply reports an error. */
  get failed(): boolean {
    return (this.flags & HeaderFlag.ERROR) !== 0;
  }

  /** The payload in place. */
  payload(): Uint8Array {
    return this.bytes.subarray(this.start, this.end);
  }

  /** Takes ownership of all fds. */
  takeFds(): number[] {
    const fds = this.fds;
    this.fds = [];
    return fds;
  }
}

/** What is needed to answer a command after its handler has returned. */
export interface ReplyTicket {
  readonly id: number;
  readonly command: number;
  readonly noReply: boolean;
}
