import { commandName } from '../protocol/index.ts';
import type { IncomingMessage } from './incoming-message.ts';
import { TransportError } from './transport-error.ts';

/** `result`: 0, the peer has closed; or a negated errno. `pending`: bytes of an incomplete message. */
export function endOfStream(result: number, pending: number): TransportError {
  if (result < 0) {
    const context = { errno: -result };
    return new TransportError('ERR_CONNECTION_LOST', 'the peer vanished', context, { errno: -result });
  }
  const message =
    pending > 0 ? 'the peer closed the connection inside a message' : 'the peer closed the connection';
  return new TransportError('ERR_CONNECTION_CLOSED', message, { pending });
}

/** Where the next message begins is lost. */
export function brokenStream(): TransportError {
  return new TransportError('ERR_FRAMING', 'the peer sent a message size that no message can have');
}

/** More fds for one message than the kernel can carry with one send. */
export function tooManyFds(limit: number): TransportError {
  const message = `the peer sent more than ${limit} file descriptors with one message`;
  return new TransportError('ERR_FRAMING', message, { limit });
}

/** A reply to no request of ours. */
export function unexpectedReply(message: IncomingMessage): TransportError {
  const command = commandName(message.command);
  return new TransportError('ERR_FRAMING', `a reply to ${command} that nobody asked for`, {
    command,
    id: message.id,
  });
}

/** A handler threw what is no FerryError. */
export function handlerBug(error: unknown, message: IncomingMessage): TransportError {
  const command = commandName(message.command);
  const text = error instanceof Error ? error.message : String(error);
  return new TransportError(
    'ERR_SOCKET',
    `handling ${command} threw: ${text}`,
    { command },
    { cause: error },
  );
}

/** A send failed for good. */
export function sendFailed(errno: number): TransportError {
  return new TransportError('ERR_CONNECTION_LOST', 'the peer no longer takes data', { errno }, { errno });
}

/** The send buffer is full, or too many requests are in flight. */
export function queueFull(command: number): TransportError {
  return new TransportError('ERR_SEND_QUEUE_FULL', 'the peer does not take its messages', {
    command: commandName(command),
  });
}
