import { createHash, randomBytes } from 'node:crypto';
import { DeviceError } from '../../device/index.ts';
import { Errno } from '../../errors/index.ts';

const SERIAL_LENGTH = 20;

/** Who a controller and its namespace are, to a guest that looks for its disks. */
export interface NvmeIdentity {
  /** 20 ASCII characters, filled up with spaces. */
  readonly serial: Uint8Array;
  /** 16 bytes. */
  readonly uuid: Uint8Array;
}

/** A serial number that nobody else has. */
export function randomSerial(): string {
  return `FERRY${randomBytes(6).toString('hex').toUpperCase()}`;
}

/** The identity that belongs to a serial number of 1 to 20 printable ASCII characters. Throws DeviceError. */
export function identityOf(serial: string): NvmeIdentity {
  if (!/^[\x21-\x7e]([\x20-\x7e]{0,18}[\x21-\x7e])?$/.test(serial)) {
    throw new DeviceError(
      'ERR_DEVICE_DECLARATION',
      `a serial number has 1 to ${SERIAL_LENGTH} printable ASCII characters, unlike "${serial}"`,
      { errno: Errno.EINVAL, context: { serial } },
    );
  }
  return { serial: Buffer.from(serial.padEnd(SERIAL_LENGTH), 'latin1'), uuid: uuidOf(serial) };
}

/** A name-based UUID, version 5 (RFC 4122, section 4.3), in no name space but our own. */
function uuidOf(name: string): Uint8Array {
  const uuid = createHash('sha1').update(`ferry nvme ${name}`).digest().subarray(0, 16);
  uuid[6] = ((uuid[6] ?? 0) & 0x0f) | 0x50;
  uuid[8] = ((uuid[8] ?? 0) & 0x3f) | 0x80;
  return uuid;
}
