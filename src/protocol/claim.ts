import { createHash } from 'node:crypto';
import { littleEndian } from './byte-order.ts';
import { Command } from './commands.ts';
import { flags } from './flags.ts';
import { struct, u32, u64, type ValueOfStruct } from './layout.ts';
import { message } from './message.ts';
import { payload } from './payload.ts';
import { ProtocolError } from './protocol-error.ts';
import { argszAtLeast } from './rules.ts';

/** Bytes of a claim's token, and of the id of a group of devices. */
export const TOKEN_SIZE = 16;

/** What FERRY_CLAIM is asked to do. */
export const ClaimOperation = {
  /** Tell who has the device; nothing changes. */
  QUERY: 0,
  /** From now on only this connection changes the device's migration state. */
  CLAIM: 1,
  /** The device, which does not run, never runs again unless released with the token or by force. */
  RETIRE: 2,
  /** Give the claim back, retired or not. */
  RELEASE: 3,
} as const;
export type ClaimOperation = (typeof ClaimOperation)[keyof typeof ClaimOperation];

/** Flags of a FERRY_CLAIM request. */
export const ClaimRequestFlag = flags(
  { FORCE: 1 },
  { FORCE: 'with RELEASE: whoever has the device, without its token; epoch must be higher than its epoch' },
);

/** Flags of a FERRY_CLAIM reply. */
export const ClaimFlag = flags(
  { CLAIMED: 1, YOURS: 2, RETIRED: 4 },
  {
    CLAIMED: 'the device belongs to a migration',
    YOURS: 'this connection may act for it',
    RETIRED: 'it must not run: its state has been handed over',
  },
);

/** The request of FERRY_CLAIM. */
export const ClaimRequest = struct('claim', {
  argsz: u32('largest reply payload, bytes'),
  flags: u32('see the flags', { format: ClaimRequestFlag, strict: true }),
  operation: u32('0 query, 1 claim, 2 retire, 3 release'),
  reserved: u32('0', { only: 0 }),
  epoch: u64('counts the takeovers of one migration, from 1'),
  tokenLow: u64('first 8 bytes of the token, a secret of whoever moves the device'),
  tokenHigh: u64('its last 8 bytes'),
});

/** The reply of FERRY_CLAIM: how things are after the request. */
export const ClaimReply = struct('claim status', {
  argsz: u32('bytes of the payload'),
  flags: u32('see the flags', { format: ClaimFlag }),
  deviceState: u32('migration state, as in MIG_DEVICE_STATE'),
  reserved: u32('0'),
  epoch: u64('of the claim; without one the highest that the server remembers'),
  id: u64('names the claim without telling its token; 0 without one'),
  since: u64('when the device was first claimed with this token, ms since 1970; 0 without a claim'),
  instance: u64('random, chosen when the server started: another number is another device'),
  resets: u64('resets of the device since the server started'),
});

/** The value of {@link ClaimReply}. */
export type ClaimReply = ValueOfStruct<typeof ClaimReply>;

/** FERRY_CLAIM: ours. Only after `ferry.claim`, and only on the control socket. */
export const ferryClaim = message({
  command: Command.FERRY_CLAIM,
  doc: 'Ours. Ties the device to one migration, as docs/ownership.md says.',
  request: payload('FERRY_CLAIM request', {
    fixed: ClaimRequest,
    trailing: 'tolerated',
    rules: [
      argszAtLeast(ClaimReply.size, 'ours: EINVAL'),
      {
        field: 'operation',
        must: 'be one of the four',
        source: 'ours: EINVAL',
        holds: ({ operation }) => operation <= ClaimOperation.RELEASE,
      },
      {
        field: 'flags',
        must: 'not say FORCE unless it is a RELEASE',
        source: 'ours: EINVAL',
        holds: (request) =>
          (request.flags & ClaimRequestFlag.FORCE) === 0 || request.operation === ClaimOperation.RELEASE,
      },
    ],
  }),
  reply: payload('FERRY_CLAIM reply', { fixed: ClaimReply, trailing: 'tolerated' }),
});

/** 16 bytes as the two numbers in which structs carry them. @throws ProtocolError EINVAL for another length */
export function toHalves(bytes: Uint8Array): { readonly low: bigint; readonly high: bigint } {
  if (bytes.length !== TOKEN_SIZE) {
    throw new ProtocolError(`a token or id has ${TOKEN_SIZE} bytes, not ${bytes.length}`, {
      context: { length: bytes.length },
    });
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, TOKEN_SIZE);
  return { low: view.getBigUint64(0, littleEndian), high: view.getBigUint64(8, littleEndian) };
}

/** The 16 bytes of which `low` and `high` are the halves. */
export function fromHalves(low: bigint, high: bigint): Uint8Array {
  const bytes = new Uint8Array(TOKEN_SIZE);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(0, low, littleEndian);
  view.setBigUint64(8, high, littleEndian);
  return bytes;
}

/** The number that names a claim to people: it follows from the token, the token does not follow from it. Never 0. */
export function claimId(token: Uint8Array): bigint {
  const digest = createHash('sha256').update('ferry claim\0').update(token).digest();
  return digest.readBigUInt64BE(0) || 1n;
}

/** How a claim's id is written: 16 hex digits. */
export function claimName(id: bigint): string {
  return id.toString(16).padStart(16, '0');
}
