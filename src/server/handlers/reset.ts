import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { acknowledge, answerWhenDone } from './handler.ts';

/** DEVICE_RESET. A payload is ignored, as libvfio-user does. A VMM's waits for the end of a hold. */
export function handleReset(served: ServedConnection, message: IncomingMessage): boolean {
  const { server } = served;
  if (served.role === 'main' && server.hold.active) {
    if (!server.hold.expired) return false;
    throw new ServerError('ERR_BUSY', 'the device is being moved');
  }
  if (served.role === 'control') server.migration.requireTurnToReset(served);
  answerWhenDone(served, message, server.reset(served), (to) => acknowledge(served, to));
  return true;
}
