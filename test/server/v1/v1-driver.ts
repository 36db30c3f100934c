import { fields, type RawClient, type RawMessage } from '../../helpers/raw-client.ts';

/** Everything here is bytes: nothing of the declarations in src/ is used. */
const REGION_READ = 9;
const REGION_WRITE = 10;
/** Index of the migration region of a PCI device with nothing else behind its nine. */
export const REGION = 9;
/** Offsets of the registers (linux/vfio.h of Linux 5.8 to 5.17). */
export const DEVICE_STATE = 0;
export const RESERVED = 4;
export const PENDING_BYTES = 8;
export const DATA_OFFSET = 16;
export const DATA_SIZE = 24;

/** One REGION_READ of the migration region. */
export function read(client: RawClient, offset: number, count: number): Promise<RawMessage> {
  return client.request(REGION_READ, fields(BigInt(offset), REGION, count));
}

/** One REGION_WRITE of the migration region; its errno. */
export async function write(client: RawClient, offset: number, data: Uint8Array): Promise<number> {
  return (await client.request(REGION_WRITE, fields(BigInt(offset), REGION, data.length, data))).error;
}

/** Bytes of the migration region. */
export async function readBytes(client: RawClient, offset: number, count: number): Promise<Buffer> {
  const { error, payload } = await read(client, offset, count);
  if (error !== 0) throw new Error(`read of ${count} bytes at ${offset}: errno ${error}`);
  return Buffer.from(payload.subarray(16));
}

/** A register of 8 bytes. */
export async function readWide(client: RawClient, offset: number): Promise<number> {
  return Number((await readBytes(client, offset, 8)).readBigUInt64LE());
}

/** device_state. */
export async function getState(client: RawClient): Promise<number> {
  return (await readBytes(client, DEVICE_STATE, 4)).readUInt32LE();
}

/** Writes device_state; the errno. */
export function setState(client: RawClient, state: number): Promise<number> {
  return write(client, DEVICE_STATE, fields(state));
}

/** One transaction of the saving sequence, b to d; the piece. */
export async function takePiece(client: RawClient): Promise<Buffer> {
  const offset = await readWide(client, DATA_OFFSET);
  const size = await readWide(client, DATA_SIZE);
  return readBytes(client, offset, size);
}

/** The saving sequence until pending_bytes is 0: the pieces. */
export async function save(client: RawClient): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  while ((await readWide(client, PENDING_BYTES)) > 0) pieces.push(await takePiece(client));
  return pieces;
}

/** One transaction of the resuming sequence; the errno of what failed, or 0. */
export async function givePiece(client: RawClient, piece: Uint8Array): Promise<number> {
  const offset = await readWide(client, DATA_OFFSET);
  return (
    (await write(client, offset, piece)) || (await write(client, DATA_SIZE, fields(BigInt(piece.length))))
  );
}

/** Loads pieces; the errno of the first that failed, or 0. */
export async function load(client: RawClient, pieces: readonly Uint8Array[]): Promise<number> {
  for (const piece of pieces) {
    const errno = await givePiece(client, piece);
    if (errno !== 0) return errno;
  }
  return 0;
}
