import { struct, u8, u16, u32, u64 } from '../protocol/index.ts';

/**
 * The version of the talk between two processes: messages and record. Both must have the same; the layout of HELLO never
 * changes up to its first field, so that a process of another version can say why it refuses.
 *
 * Version 1 ended with READY and GO; since version 2 the word of memory alone decides (verdict.ts).
 */
export const PROTOCOL_VERSION = 2;

/** The first four bytes of each message: `FRYH`. */
export const MAGIC = 0x4859_5246;

/** An fd that is not there, where the place of one is told. */
export const NO_FD = 0xffff_ffff;

/** The most fds in one message (SCM_MAX_FD of the kernel). */
export const MAX_FDS = 253;

/** The longest body of a message, in bytes. */
export const MAX_BODY = 1024 * 1024;

/** The longest record, in bytes. */
export const MAX_RECORD = 256 * 1024 * 1024;

/** The most fds of a record. */
export const MAX_RECORD_FDS = 65_536;

/** The longest text, in bytes. */
export const MAX_TEXT = 4096;

/** The kinds of messages, and who sends them: A has the device, B is to have it. */
export const Kind = {
  /** A: who the device is, and the memory in which both decide who has it. */
  HELLO: 1,
  /** B: it fits; nothing has been stopped yet. */
  OK: 2,
  /** Either: the device stays with A, and why. */
  NO: 3,
  /** A: bytes of the state of the device, as in a migration. */
  DATA: 4,
  /** A: the device has stopped, and so much follows. */
  STATE: 5,
  /** A: bytes of the record. */
  RECORD: 6,
  /** A: some of the fds of the record. */
  FDS: 7,
  /** B: so many of them are here. */
  ACK: 8,
  /** B: it has taken the device. 9 and 10 were used by version 1. */
  TAKEN: 11,
  /** A: what was sent of the state is void, because the device was reset; begin anew. */
  AGAIN: 12,
  /** A: answer with ACK as soon as all that came before this has been dealt with. */
  MARK: 13,
  /** A: maps of guest memory and their files, to be made while the device still runs; the record has them again. */
  MAPS: 14,
} as const;

/** One of {@link Kind}. */
export type Kind = (typeof Kind)[keyof typeof Kind];

/** Before each message. */
export const FrameHead = struct('message head', {
  magic: u32('FRYH'),
  kind: u16('which message'),
  fds: u16('how many fds come with it'),
  length: u32('bytes of the body'),
  bodyChecksum: u32('CRC-32 of the body'),
  headChecksum: u32('CRC-32 of the head up to here'),
});

/** What HELLO begins with in every version. */
export const Version = struct('version', { protocol: u16('PROTOCOL_VERSION') });

/** HELLO: this, the kind of the device, its parts and its shared blocks. */
export const Hello = struct('hello', {
  protocol: u16('PROTOCOL_VERSION'),
  kindLength: u16('bytes of the kind'),
  pid: u32('process that has the device'),
  vendor: u16('PCI vendor id'),
  device: u16('PCI device id'),
  subsystemVendor: u16('PCI subsystem vendor id'),
  subsystemDevice: u16('PCI subsystem id'),
  revision: u16('PCI revision id'),
  parts: u16('parts of the state'),
  classCode: u32('PCI class code'),
  shared: u32('memory blocks that pass on as they are'),
  fds: u32('fds of the record, but for what the author gives'),
});

/** A part of the state: this and its name. */
export const PartHead = struct('part', {
  version: u32('of the state'),
  nameLength: u16('bytes of the name'),
});

/** A shared block: this and its name. */
export const SharedHead = struct('shared block', {
  size: u64('bytes'),
  nameLength: u16('bytes of the name'),
});

/** OK: the version that is spoken from now on. */
export const Accept = struct('ok', { protocol: u16('PROTOCOL_VERSION') });

/** NO: this and why. */
export const Refusal = struct('no', {
  errno: u32('why, for programs'),
  textLength: u16('bytes of the text'),
});

/** STATE. */
export const StateHead = struct('state', {
  recordLength: u32('bytes of the record'),
  recordChecksum: u32('CRC-32 of the record'),
  fds: u32('fds of the record'),
  dataLength: u64('bytes of the state of the device since OK'),
  stoppedAt: u64('when its clients were served last, in nanoseconds of CLOCK_MONOTONIC'),
  savedAt: u64('when all that follows was put together'),
  savingCpu: u64('CPU time that this has taken, in microseconds'),
});

/** ACK. */
export const AckBody = struct('ack', { received: u32('fds that are here') });

/** The record begins with this; what it counts follows in this order. */
export const RecordHead = struct('record', {
  version: u16('PROTOCOL_VERSION'),
  keeps: u8('1: the state is kept when the VMM goes away'),
  reserved: u8('0', { only: 0 }),
  instance: u64('number of the device'),
  resets: u32('so far'),
  highestEpoch: u64('of all claims'),
  claims: u16('claims that are over'),
  listeners: u16('sockets that listen'),
  connections: u16('connections'),
  interrupts: u16('interrupt indices'),
  bellSets: u16('regions whose doorbells have been given out'),
  maps: u32('DMA maps'),
  blocks: u16('memory blocks'),
  timers: u16('timers'),
  possessionBytes: u32('what the author has given'),
  possessionFds: u32('and its fds'),
});

/** A claim that is over. */
export const ClaimEntry = struct('claim', {
  tokenLow: u64('the token, first 8 bytes'),
  tokenHigh: u64('its last 8 bytes'),
  lowest: u64('lowest epoch with which it may come back'),
});

/** A socket that listens: this and its path. */
export const ListenerEntry = struct('listener', {
  fd: u32('place of its fd'),
  role: u8('0 main, 1 control'),
  own: u8("1: its file is the server's"),
  pathLength: u16('bytes of the path'),
});

/** A connection: this, what VERSION has agreed on, its link and that of its twin, as the flags say. */
export const ConnectionEntry = struct('connection', {
  role: u8('0 main, 1 control'),
  flags: u8('1 agreed, 2 twin, 4 late, 8 aborted'),
});

/** Flags of a {@link ConnectionEntry}. */
export const ConnectionFlag = { AGREED: 1, TWIN: 2, LATE: 4, ABORTED: 8 } as const;

/** What VERSION has agreed on. */
export const AgreementEntry = struct('agreement', {
  major: u16('protocol version'),
  minor: u16('protocol version'),
  sendSize: u32('largest data message to the client'),
  sendFds: u32('most fds with a message to the client'),
  receiveSize: u32('largest data message from the client'),
  receiveFds: u32('most fds with a message from the client'),
  maxDmaMaps: u32('DMA maps at once'),
  pgsizes: u64('page sizes of maps'),
  features: u32('bits of AGREED_FEATURES'),
  configuration: u32('how it travels, and 1; 0: not agreed'),
});

/** A link: this, unread bytes, their fd sets, unsent bytes, their marks, and ids that were given up. */
export const LinkEntry = struct('link', {
  fd: u32('place of the socket'),
  unread: u32('bytes'),
  fdSets: u16('reads that brought fds'),
  lastId: u16('of our own requests'),
  abandoned: u16('ids that may still be answered'),
  marks: u16('unsent messages with fds'),
  unsent: u32('bytes'),
  rest: u32('of a message of which part was sent'),
});

/** Fds that came with a read: this and the places of the fds. */
export const FdSetEntry = struct('fd set', { at: u32('last byte of the read'), fds: u16('how many') });

/** An unsent message with fds: this and the places of the fds. */
export const MarkEntry = struct('mark', {
  at: u32('where it begins'),
  end: u32('and ends'),
  fds: u16('how many'),
});

/** Places of fds, and ids, one for each. */
export const Place = struct('place', { fd: u32('place of an fd') });

/** An id of a request. */
export const IdEntry = struct('id', { id: u16('of a request') });

/** An interrupt index: this, and for each vector its place, its mask and whether it waits. */
export const InterruptEntry = struct('interrupts', {
  index: u32('of the interrupts'),
  enabled: u8('1: the client has set triggers'),
  vectors: u32('how many'),
});

/** The doorbells of a region: this and the bells. */
export const BellSetEntry = struct('doorbells', {
  region: u32('index'),
  bells: u32('how many'),
  shadow: u32('place of the shared memory'),
});

/** A doorbell. */
export const BellEntry = struct('doorbell', {
  eventfd: u32('place'),
  offset: u64('in the region'),
  datamatch: u64('the value'),
  size: u8('bytes'),
  flags: u8('1: datamatch counts, 2: shadow'),
});

/** MAPS: this and the maps. */
export const MapsHead = struct('maps', { maps: u32('how many') });

/** A DMA map. */
export const MapEntry = struct('map', {
  iova: u64('first address'),
  size: u64('bytes'),
  offset: u64('in the file'),
  fd: u32('place of the file'),
  flags: u8('1 read, 2 write'),
  mode: u8('0 mmap, 1 file, 2 message'),
});

/** A memory block that passes on as it is: this and its name. */
export const BlockEntry = struct('block', {
  size: u64('bytes'),
  fd: u32('place of its memory'),
  exposed: u8('1: a client has its fd'),
  nameLength: u16('bytes of the name'),
});

/** A timer, in microseconds. */
export const TimerEntry = struct('timer', {
  period: u64('from tick to tick'),
  left: u64('to the next tick'),
});
