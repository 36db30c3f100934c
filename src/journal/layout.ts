import { struct, u8, u16, u32, u64 } from '../protocol/index.ts';
import type { JournalRole, OwningSide, RecordKind } from './record.ts';

/** The first four bytes of each record: `FRYJ`. */
export const MAGIC = 0x4a59_5246;

/** The form of the records that is written here. */
export const VERSION = 2;

/** The head of a record. Its body follows; all numbers are little-endian. */
export const RecordHead = struct('record head', {
  magic: u32('FRYJ'),
  version: u16('1'),
  kind: u8('which record'),
  role: u8('1 sender, 2 receiver'),
  length: u32('bytes of the body'),
  sequence: u32('0 for the first record, one more for each'),
  epoch: u64('counts the takeovers of the migration'),
  groupLow: u64('the group that moves, first 8 bytes'),
  groupHigh: u64('its last 8 bytes'),
  at: u64('when it was written, ms since 1970'),
  bodyChecksum: u32('CRC-32 of the body'),
  headChecksum: u32('CRC-32 of the head up to here'),
});

/** The body of BEGIN: this, the peer's name, and the devices, each with its head; what is left is the plan. */
export const BeginBody = struct('begin', {
  tokenLow: u64('the token, first 8 bytes'),
  tokenHigh: u64('its last 8 bytes'),
  peerLength: u16('bytes of the name of the other side'),
  devices: u16('how many devices'),
});

/** A device in the body of BEGIN; its path follows. */
export const DeviceHead = struct('device', {
  instance: u64('instance of its server; 0: unknown'),
  pathLength: u16('bytes of its path'),
  flags: u8('1: its guest is paused'),
});

/** The bit of a device's flags that says that its guest is paused. */
export const PAUSED = 1;

/** Configuration in the body of READY, for each device of which something is withheld; the bytes follow. */
export const WithheldHead = struct('withheld', {
  device: u16('its number'),
  actions: u32('what is still to be done'),
  length: u16('bytes of its configuration space'),
});

/** The longest configuration space, in bytes: that of PCI Express. */
export const MAX_CONFIGURATION = 4096;

/** The body of RECOVERED: this, who decided, and why. */
export const RecoveredBody = struct('recovered', {
  owner: u8('1 source, 2 destination'),
  whoLength: u16('bytes of who decided; the rest is why'),
});

/** The numbers of the kinds. */
export const KIND_NUMBERS: Readonly<Record<RecordKind, number>> = {
  BEGIN: 1,
  READY: 2,
  COMMIT: 3,
  RUN: 4,
  DONE: 5,
  ABORT: 6,
  RECOVERED: 7,
};

/** The numbers of the roles. */
export const ROLE_NUMBERS: Readonly<Record<JournalRole, number>> = { sender: 1, receiver: 2 };

/** The numbers of the sides. */
export const OWNER_NUMBERS: Readonly<Record<OwningSide, number>> = { source: 1, destination: 2 };

/** The longest text in a record, in bytes. */
export const MAX_TEXT = 4096;

/** The most devices of a group. */
export const MAX_DEVICES = 256;

/** The longest plan, in bytes. */
export const MAX_PLAN = 64 * 1024;

/** The longest body, in bytes: what the limits above allow. */
export const MAX_BODY =
  BeginBody.size + MAX_TEXT + MAX_DEVICES * (DeviceHead.size + MAX_TEXT) + MAX_PLAN + RecoveredBody.size;
