import { MigrationState } from '../../src/states/index.ts';
import { fields, type RawClient, type RawMessage } from '../helpers/raw-client.ts';

const FEATURE = 16;
const DATA_READ = 17;
const DATA_WRITE = 18;
const GET = 0x1_0000;
const SET = 0x2_0000;
const DEVICE_STATE = 2;

/** Asks for a migration state; the errno of the reply, 0 when it went well. */
export async function setState(client: RawClient, state: number): Promise<number> {
  const reply = await client.request(FEATURE, fields(16, SET | DEVICE_STATE, state, 0xffff_ffff));
  return reply.error;
}

/** Asks for a state without waiting; returns the id. */
export function postState(client: RawClient, state: number): number {
  return client.post(FEATURE, fields(16, SET | DEVICE_STATE, state, 0xffff_ffff));
}

/** The state as a client is told. */
export async function getState(client: RawClient): Promise<number> {
  const reply = await client.request(FEATURE, fields(16, GET | DEVICE_STATE));
  if (reply.error !== 0) throw new Error(`GET MIG_DEVICE_STATE: errno ${reply.error}`);
  return Buffer.from(reply.payload).readUInt32LE(8);
}

/** One MIG_DATA_READ. */
export function readData(client: RawClient, size: number): Promise<RawMessage> {
  return client.request(DATA_READ, fields(8 + size, size));
}

/** The bytes that a MIG_DATA_READ brought. */
export function dataOf(reply: RawMessage): Uint8Array {
  return reply.payload.subarray(8, 8 + Buffer.from(reply.payload).readUInt32LE(4));
}

/** Reads until the end (for now), `size` bytes at a time. */
export async function readAll(client: RawClient, size = 60_000): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for (;;) {
    const reply = await readData(client, size);
    if (reply.error !== 0) throw new Error(`MIG_DATA_READ: errno ${reply.error}`);
    const piece = dataOf(reply);
    if (piece.length === 0) return Buffer.concat(pieces);
    pieces.push(piece);
  }
}

/** One MIG_DATA_WRITE; its errno. */
export async function writeData(client: RawClient, data: Uint8Array): Promise<number> {
  return (await client.request(DATA_WRITE, fields(8 + data.length, data.length, data))).error;
}

/** Writes in flight at once. */
const WINDOW = 64;

/** Writes everything, `size` bytes at a time; the errno of the first that failed, or 0. */
export async function writeAll(client: RawClient, data: Uint8Array, size = 60_000): Promise<number> {
  let first = 0;
  for (let at = 0; at < data.length; ) {
    const ids: number[] = [];
    for (let room = 100_000; at < data.length && room > 0 && ids.length < WINDOW; room -= size) {
      const piece = data.subarray(at, at + size);
      ids.push(client.post(DATA_WRITE, fields(8 + piece.length, piece.length, piece)));
      at += piece.length;
    }
    for (const id of ids) first ||= (await client.reply(id)).error;
  }
  return first;
}

/** Takes the whole state of a device that its control client may drive: it is in STOP_COPY afterwards. */
export async function saveState(control: RawClient): Promise<Buffer> {
  const errno = await setState(control, MigrationState.STOP_COPY);
  if (errno !== 0) throw new Error(`SET STOP_COPY: errno ${errno}`);
  return readAll(control);
}

/** Loads a state; the device is in RESUMING afterwards. */
export async function loadState(control: RawClient, state: Uint8Array): Promise<void> {
  const errno = (await setState(control, MigrationState.RESUMING)) || (await writeAll(control, state));
  if (errno !== 0) throw new Error(`loading: errno ${errno}`);
}
