import { Errno, FerryError } from '../../errors/index.ts';
import type { IncomingMessage, ReplyTicket } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { deviceFailed, ServerError } from '../server-error.ts';

/** Handles one command of one connection. False parks it (see Connection). A FerryError thrown is the error reply. */
export type Handler = (served: ServedConnection, message: IncomingMessage) => boolean;

/** Answers with a whole payload, and fds if there are any. */
export function answer(
  served: ServedConnection,
  to: ReplyTicket,
  payload: Uint8Array,
  fds: readonly number[] = [],
): void {
  const { connection } = served;
  const at = connection.reply(to, payload.length);
  if (at < 0) return;
  connection.out.bytes.set(payload, at);
  connection.attachFds(fds);
}

const EMPTY = new Uint8Array(0);

/** Answers with a header alone. */
export function acknowledge(served: ServedConnection, to: ReplyTicket): void {
  answer(served, to, EMPTY);
}

/**
 * Answers when `work` is done, at once if it is done already. Until then the connection's later commands wait, in
 * order; replies to our own requests do not.
 */
export function answerWhenDone(
  served: ServedConnection,
  message: IncomingMessage,
  work: void | Promise<void>,
  succeed: (to: ReplyTicket) => void,
): void {
  if (work === undefined) return succeed(message);
  if (served.server.reactor.mode === 'dedicated') throw neverInDedicatedMode();
  const { connection } = served;
  const ticket = connection.ticket(message);
  connection.hold();
  work
    .then(() => succeed(ticket))
    .catch((error: unknown) => {
      if (!(error instanceof FerryError)) served.server.report(deviceFailed('the device failed', error));
      connection.replyError(ticket, error instanceof FerryError ? error.errno : Errno.EIO);
    })
    .finally(() => connection.release());
}

/** Under a hold only the control side drives the migration. @throws ServerError EBUSY */
export function requireDriver(served: ServedConnection): void {
  if (served.role === 'main' && served.server.hold.active) {
    throw new ServerError('ERR_BUSY', 'the control side holds the device');
  }
}

/** A server that offers v1 offers no v2: two that drive in different ways would lose each other's data. @throws ENOTTY */
export function requireV2({ server }: ServedConnection): void {
  if (server.v1 === null) return;
  throw new ServerError('ERR_NOT_SUPPORTED', 'this device is migrated through its v1 region');
}

function neverInDedicatedMode(): ServerError {
  const message = 'the device answers asynchronously, which never completes in dedicated mode';
  return new ServerError('ERR_ASYNCHRONOUS', message);
}
