import { fields, type RawClient } from '../helpers/raw-client.ts';

const CLAIM_COMMAND = 0xfe03;

/** What FERRY_CLAIM is asked for, by number. */
export const operations = { query: 0, claim: 1, retire: 2, release: 3 } as const;

export const TOKEN = Buffer.from('0f1e2d3c4b5a69788796a5b4c3d2e1f0', 'hex');
export const OTHER_TOKEN = Buffer.from('ffffffffffffffffffffffffffffffff', 'hex');

/** What FERRY_CLAIM answered. */
export interface ClaimAnswer {
  readonly errno: number;
  readonly claimed: boolean;
  readonly yours: boolean;
  readonly retired: boolean;
  readonly state: number;
  readonly epoch: bigint;
  readonly id: bigint;
  readonly since: bigint;
  readonly instance: bigint;
  readonly resets: bigint;
}

/** FERRY_CLAIM, in bytes. */
export async function askClaim(
  client: RawClient,
  operation: keyof typeof operations,
  epoch = 0n,
  token: Uint8Array = TOKEN,
  flags = 0,
): Promise<ClaimAnswer> {
  const reply = await client.request(
    CLAIM_COMMAND,
    fields(56, flags, operations[operation], 0, epoch, token),
  );
  const bytes = Buffer.alloc(56);
  bytes.set(reply.payload.subarray(0, 56));
  const bits = bytes.readUInt32LE(4);
  return {
    errno: reply.error,
    claimed: (bits & 1) !== 0,
    yours: (bits & 2) !== 0,
    retired: (bits & 4) !== 0,
    state: bytes.readUInt32LE(8),
    epoch: bytes.readBigUInt64LE(16),
    id: bytes.readBigUInt64LE(24),
    since: bytes.readBigUInt64LE(32),
    instance: bytes.readBigUInt64LE(40),
    resets: bytes.readBigUInt64LE(48),
  };
}

/** The same, which has to go well. */
export async function claim(
  client: RawClient,
  operation: keyof typeof operations,
  epoch = 1n,
  token: Uint8Array = TOKEN,
  flags = 0,
): Promise<ClaimAnswer> {
  const answer = await askClaim(client, operation, epoch, token, flags);
  if (answer.errno !== 0) throw new Error(`FERRY_CLAIM ${operation}: errno ${answer.errno}`);
  return answer;
}
