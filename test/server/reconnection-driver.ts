import { fields, type RawClient } from '../helpers/raw-client.ts';

const COMMAND = 0xfe04;

/** What FERRY_RECONNECTION is asked for, by number. */
const operations = { query: 0, keep: 1, reset: 2, continue: 3 } as const;

/** What FERRY_RECONNECTION answered. */
export interface ReconnectionAnswer {
  readonly errno: number;
  readonly keep: boolean;
  readonly kept: boolean;
  readonly returned: boolean;
  readonly state: number;
  readonly withheld: number;
  readonly since: bigint;
  readonly argsz: number;
  readonly configuration: Buffer;
}

/** FERRY_RECONNECTION, in bytes. */
export async function askReconnection(
  client: RawClient,
  operation: keyof typeof operations,
  argsz = 4120,
): Promise<ReconnectionAnswer> {
  const reply = await client.request(COMMAND, fields(argsz, 0, operations[operation], 0));
  const bytes = Buffer.alloc(Math.max(24, reply.payload.length));
  bytes.set(reply.payload);
  const bits = bytes.readUInt32LE(4);
  return {
    errno: reply.error,
    keep: (bits & 1) !== 0,
    kept: (bits & 2) !== 0,
    returned: (bits & 4) !== 0,
    argsz: bytes.readUInt32LE(0),
    state: bytes.readUInt32LE(8),
    withheld: bytes.readUInt32LE(12),
    since: bytes.readBigUInt64LE(16),
    configuration: bytes.subarray(24),
  };
}
