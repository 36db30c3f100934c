import { Command } from './commands.ts';
import { flags } from './flags.ts';
import { struct, u32, u64, type ValueOfStruct } from './layout.ts';
import { message } from './message.ts';
import { payload } from './payload.ts';
import { argszAtLeast } from './rules.ts';
import { bytes } from './tails.ts';

/** What FERRY_RECONNECTION is asked to do. */
export const ReconnectionOperation = {
  /** Tell how things are; nothing changes. */
  QUERY: 0,
  /** From now on the state outlives its VMM: what a VMM that comes back resets is withheld until decided. */
  KEEP: 1,
  /** From now on a VMM's resets are carried out; a state that is kept is reset. */
  RESET: 2,
  /** The state that is kept goes on with the VMM that has come back. */
  CONTINUE: 3,
} as const;
export type ReconnectionOperation = (typeof ReconnectionOperation)[keyof typeof ReconnectionOperation];

/** Flags of a FERRY_RECONNECTION reply. */
export const ReconnectionFlag = flags(
  { KEEP: 1, KEPT: 2, RETURNED: 4 },
  {
    KEEP: 'the state is kept when the VMM goes away',
    KEPT: 'a state is kept, and waits to be continued or reset',
    RETURNED: 'a VMM has come for it, whose resets are withheld',
  },
);

/** The request of FERRY_RECONNECTION. */
export const ReconnectionRequest = struct('reconnection', {
  argsz: u32('largest reply payload, bytes'),
  flags: u32('0', { only: 0 }),
  operation: u32('0 query, 1 keep, 2 reset, 3 continue'),
  reserved: u32('0', { only: 0 }),
});

/** The fixed part of the reply of FERRY_RECONNECTION: how things are after the request. */
export const ReconnectionReply = struct('reconnection status', {
  argsz: u32('bytes of the whole reply, configuration included'),
  flags: u32('see the flags', { format: ReconnectionFlag }),
  deviceState: u32('migration state, as in MIG_DEVICE_STATE'),
  withheldResets: u32('resets that the VMM asked for and that were not carried out'),
  since: u64('when the VMM went away, ms since 1970; 0 when no state is kept'),
});

/** The value of {@link ReconnectionReply}. */
export type ReconnectionReply = ValueOfStruct<typeof ReconnectionReply>;

/** FERRY_RECONNECTION: ours. Only after `ferry.reconnection`, and only on the control socket. */
export const ferryReconnection = message({
  command: Command.FERRY_RECONNECTION,
  doc: 'Ours. What becomes of the state of the device when its VMM comes back, as docs/ownership.md says.',
  request: payload('FERRY_RECONNECTION request', {
    fixed: ReconnectionRequest,
    trailing: 'tolerated',
    rules: [
      argszAtLeast(ReconnectionReply.size, 'ours: EINVAL'),
      {
        field: 'operation',
        must: 'be one of the four',
        source: 'ours: EINVAL',
        holds: ({ operation }) => operation <= ReconnectionOperation.CONTINUE,
      },
    ],
  }),
  reply: payload('FERRY_RECONNECTION reply', {
    fixed: ReconnectionReply,
    tail: bytes(
      'configuration',
      'the configuration space when the VMM went away, unless none is kept or argsz is too small for it',
    ),
  }),
});
