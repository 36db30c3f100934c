import { Command } from './commands.ts';
import { struct, u32 } from './layout.ts';
import { message } from './message.ts';
import { payload } from './payload.ts';

/** The request of FERRY_HANDOVER. */
export const HandoverRequest = struct('hand-over', {
  argsz: u32('largest reply payload, bytes'),
  flags: u32('0', { only: 0 }),
});

/** The reply of FERRY_HANDOVER. */
export const HandoverReply = struct('hand-over door', {
  argsz: u32('bytes of the payload'),
  flags: u32('0', { only: 0 }),
});

/**
 * FERRY_HANDOVER: ours. Only after `ferry.handover`, and only on the control socket: a new server process asks the running
 * one for its device (docs/live-upgrade.md).
 */
export const ferryHandover = message({
  command: Command.FERRY_HANDOVER,
  doc: 'Ours. Another process of this host wants to go on with the device, as docs/live-upgrade.md says.',
  request: payload('FERRY_HANDOVER request', { fixed: HandoverRequest, trailing: 'tolerated' }),
  reply: payload('FERRY_HANDOVER reply', { fixed: HandoverReply, trailing: 'tolerated' }),
  fds: { reply: { max: 1, doc: 'the socket on which the two processes talk about it' } },
});
