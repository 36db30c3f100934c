import { Command } from './commands.ts';
import { flags } from './flags.ts';
import { struct, u32, u64, type ValueOfStruct } from './layout.ts';
import { message } from './message.ts';
import { payload } from './payload.ts';
import { argszAtLeast } from './rules.ts';

/** What FERRY_SWITCHOVER is asked to do. */
export const SwitchoverOperation = {
  /** Tell how things are; nothing changes. */
  QUERY: 0,
  /** Interrupts stay pending from now on, although the device runs. */
  WITHHOLD: 1,
  /** Interrupts stay pending, and a read of one byte of a region by the VMM is answered with 0 and does not reach the device. */
  SHIELD: 2,
  /** Write a byte of each page in the DMA log to where it is, by DMA_WRITE. */
  TOUCH: 3,
} as const;
export type SwitchoverOperation = (typeof SwitchoverOperation)[keyof typeof SwitchoverOperation];

/** Flags of a FERRY_SWITCHOVER reply. */
export const SwitchoverFlag = flags(
  { WITHHELD: 1, INTX: 2, OUTSTANDING: 4, LOGGING: 8 },
  {
    WITHHELD: 'interrupts stay pending',
    INTX: 'the device interrupts by INTx',
    OUTSTANDING: 'INTx has been signalled, and the VMM has not said that it is served',
    LOGGING: 'DMA is logged',
  },
);

/** The request of FERRY_SWITCHOVER. */
export const SwitchoverRequest = struct('switchover', {
  argsz: u32('largest reply payload, bytes'),
  flags: u32('0', { only: 0 }),
  operation: u32('0 query, 1 withhold, 2 shield, 3 touch'),
  region: u32('SHIELD: the region whose byte is shielded'),
  offset: u64('SHIELD: the byte in it'),
});

/** The reply of FERRY_SWITCHOVER: how things are after the request. */
export const SwitchoverReply = struct('switchover status', {
  argsz: u32('bytes of the payload'),
  flags: u32('see the flags', { format: SwitchoverFlag }),
  pages: u64('TOUCH: pages that were written, of 4096 bytes'),
});

/** The value of {@link SwitchoverReply}. */
export type SwitchoverReply = ValueOfStruct<typeof SwitchoverReply>;

/** FERRY_SWITCHOVER: ours. Only after `ferry.switchover`, and only on the control socket. */
export const ferrySwitchover = message({
  command: Command.FERRY_SWITCHOVER,
  doc: 'Ours. What a device does for a VMM that moves its memory by itself and knows nothing of the device.',
  request: payload('FERRY_SWITCHOVER request', {
    fixed: SwitchoverRequest,
    trailing: 'tolerated',
    rules: [
      argszAtLeast(SwitchoverReply.size, 'ours: EINVAL'),
      {
        field: 'operation',
        must: 'be one of the four',
        source: 'ours: EINVAL',
        holds: ({ operation }) => operation <= SwitchoverOperation.TOUCH,
      },
    ],
  }),
  reply: payload('FERRY_SWITCHOVER reply', { fixed: SwitchoverReply, trailing: 'tolerated' }),
});
