import { damaged, LINK_TYPE } from './encapsulation.ts';

/** Block types of pcapng (IETF draft-ietf-opsawg-pcapng). */
export const BlockType = { SECTION: 0x0a0d0d0a, INTERFACE: 1, ENHANCED_PACKET: 6 } as const;

/** The number by which a section says its byte order. */
const BYTE_ORDER_MAGIC = 0x1a2b3c4d;

/** Options that are written; those of others are skipped. */
const Option = {
  END: 0,
  APPLICATION: 4,
  NAME: 2,
  DESCRIPTION: 3,
  TIME_RESOLUTION: 9,
  PACKET_FLAGS: 2,
} as const;

/** if_tsresol: nanoseconds. */
const NANOSECONDS = 9;
/** if_tsresol of an interface that does not say: microseconds. */
const DEFAULT_RESOLUTION = 6;

/** Bytes of type and length before a block's body, and with the length after it. */
const BLOCK_HEAD = 8;
const BLOCK_FRAME = 12;

/** The longest block that is read, in bytes. The longest that is written is a fifth of it. */
export const MAX_BLOCK = 1024 * 1024;

/** Fixed bytes of an enhanced packet block's body, before the packet. */
const PACKET_FIXED = 20;

/** Blocks and what is in them begin on 4 bytes. */
export const padded = (length: number): number => (length + 3) & ~3;

function block(type: number, body: Uint8Array): Uint8Array {
  const length = BLOCK_FRAME + padded(body.length);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  bytes.set(body, BLOCK_HEAD);
  view.setUint32(length - 4, length, true);
  return bytes;
}

function options(...list: readonly (readonly [code: number, value: Uint8Array])[]): Uint8Array {
  const size = list.reduce((sum, [, value]) => sum + 4 + padded(value.length), 4);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [code, value] of list) {
    view.setUint16(at, code, true);
    view.setUint16(at + 2, value.length, true);
    bytes.set(value, at + 4);
    at += 4 + padded(value.length);
  }
  return bytes;
}

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A section header block, little-endian; `application` is who wrote it. */
export function sectionBlock(application: string): Uint8Array {
  const fixed = new DataView(new ArrayBuffer(16));
  fixed.setUint32(0, BYTE_ORDER_MAGIC, true);
  fixed.setUint16(4, 1, true);
  // The length of the section: -1, not told.
  fixed.setBigInt64(8, -1n, true);
  return block(
    BlockType.SECTION,
    joined(new Uint8Array(fixed.buffer), options([Option.APPLICATION, utf8(application)])),
  );
}

/** An interface description block: one for each socket of the server. */
export function interfaceBlock(name: string, description: string): Uint8Array {
  const fixed = new DataView(new ArrayBuffer(8));
  fixed.setUint16(0, LINK_TYPE, true);
  const list = options(
    [Option.NAME, utf8(name)],
    [Option.DESCRIPTION, utf8(description)],
    [Option.TIME_RESOLUTION, Uint8Array.of(NANOSECONDS)],
  );
  return block(BlockType.INTERFACE, joined(new Uint8Array(fixed.buffer), list));
}

/** Bytes of an enhanced packet's options: epb_flags and the end of the list. */
const PACKET_OPTIONS = 12;

/** What an enhanced packet block has besides its packet, which is padded to 4 bytes. */
export const PACKET_FRAME = BLOCK_FRAME + PACKET_FIXED + PACKET_OPTIONS;

/** What is told of a packet. */
export interface PacketFrame {
  readonly interfaceId: number;
  /** Nanoseconds since 1970. */
  readonly time: bigint;
  /** Whether it came from the server. */
  readonly inbound: boolean;
  /** Bytes of the packet. */
  readonly size: number;
}

/** Writes all of an enhanced packet block at `at` but the packet; returns where that goes. */
export function writePacketFrame(
  view: DataView,
  at: number,
  { interfaceId, time, inbound, size }: PacketFrame,
): number {
  const total = PACKET_FRAME + padded(size);
  view.setUint32(at, BlockType.ENHANCED_PACKET, true);
  view.setUint32(at + 4, total, true);
  view.setUint32(at + 8, interfaceId, true);
  view.setUint32(at + 12, Number(time >> 32n), true);
  view.setUint32(at + 16, Number(time & 0xffff_ffffn), true);
  view.setUint32(at + 20, size, true);
  view.setUint32(at + 24, size, true);
  const data = at + BLOCK_HEAD + PACKET_FIXED;
  const options = data + padded(size);
  view.setUint16(options, Option.PACKET_FLAGS, true);
  view.setUint16(options + 2, 4, true);
  view.setUint32(options + 4, inbound ? 1 : 2, true);
  view.setUint32(options + 8, 0, true);
  view.setUint32(at + total - 4, total, true);
  return data;
}

/** A block of a file, checked as far as its frame goes. */
export interface Block {
  readonly type: number;
  readonly body: Uint8Array;
  /** Bytes of the whole block. */
  readonly size: number;
}

/** The byte order of the section that begins here; null when too little is there. @throws TraceError */
export function sectionOrder(bytes: Uint8Array): boolean | null {
  if (bytes.length < BLOCK_FRAME) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(0) !== BlockType.SECTION) throw damaged('it is no pcapng file');
  if (view.getUint32(BLOCK_HEAD, true) === BYTE_ORDER_MAGIC) return true;
  if (view.getUint32(BLOCK_HEAD, false) === BYTE_ORDER_MAGIC) return false;
  throw damaged('a section says no byte order');
}

/** The block at the start of `bytes`; null when not all of it is there. @throws TraceError */
export function readBlock(bytes: Uint8Array, little: boolean): Block | null {
  if (bytes.length < BLOCK_HEAD) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.getUint32(4, little);
  if (size < BLOCK_FRAME || size % 4 !== 0 || size > MAX_BLOCK) {
    throw damaged(`a block says that it has ${size} bytes`);
  }
  if (bytes.length < size) return null;
  if (view.getUint32(size - 4, little) !== size)
    throw damaged('a block ends with another length than it begins');
  return { type: view.getUint32(0, little), body: bytes.subarray(BLOCK_HEAD, size - 4), size };
}

/** What of an interface matters. */
export interface Interface {
  readonly linkType: number;
  /** Nanoseconds of one unit of its timestamps. */
  readonly unit: bigint;
}

/** Reads an interface description block. @throws TraceError */
export function readInterface(body: Uint8Array, little: boolean): Interface {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.length < 8) throw damaged('an interface is cut short');
  let resolution = DEFAULT_RESOLUTION;
  for (let at = 8; at + 4 <= body.length; ) {
    const code = view.getUint16(at, little);
    const length = view.getUint16(at + 2, little);
    if (code === Option.END) break;
    if (at + 4 + length > body.length) throw damaged('an option of an interface is cut short');
    if (code === Option.TIME_RESOLUTION && length === 1) resolution = view.getUint8(at + 4);
    at += 4 + padded(length);
  }
  if (resolution > NANOSECONDS) throw damaged(`timestamps have the resolution ${resolution}`);
  return { linkType: view.getUint16(0, little), unit: 10n ** BigInt(NANOSECONDS - resolution) };
}

/** A packet of a file. */
export interface Packet {
  readonly interfaceId: number;
  /** In units of its interface. */
  readonly time: bigint;
  readonly data: Uint8Array;
}

/** Reads an enhanced packet block. @throws TraceError */
export function readPacket(body: Uint8Array, little: boolean): Packet {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  if (body.length < PACKET_FIXED) throw damaged('a packet is cut short');
  const length = view.getUint32(12, little);
  if (length > body.length - PACKET_FIXED) throw damaged(`a packet says that it has ${length} bytes`);
  const time = (BigInt(view.getUint32(4, little)) << 32n) | BigInt(view.getUint32(8, little));
  return {
    interfaceId: view.getUint32(0, little),
    time,
    data: body.subarray(PACKET_FIXED, PACKET_FIXED + length),
  };
}
