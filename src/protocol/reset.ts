import { Command } from './commands.ts';
import { empty } from './empty.ts';
import { message } from './message.ts';

/** DEVICE_RESET (vfio-user.rst, VFIO_USER_DEVICE_RESET). */
export const deviceReset = message({
  command: Command.DEVICE_RESET,
  doc: 'Resets the device.',
  request: empty('DEVICE_RESET request'),
  reply: empty('DEVICE_RESET reply'),
});
