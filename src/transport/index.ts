export { Connection } from './connection.ts';
export type { ConnectionHandler, ConnectionOptions, ConnectionRemains } from './connection-options.ts';
export { DedicatedReactor } from './dedicated-reactor.ts';
export { EventLoopReactor } from './event-loop-reactor.ts';
export { Framer, type UnreadBytes } from './framer.ts';
export { type HeldMessage, HeldMessages } from './held-messages.ts';
export { IncomingMessage, type ReplyTicket } from './incoming-message.ts';
export {
  connect,
  type Listener,
  type ListenOnOptions,
  type ListenOptions,
  listen,
  listenOn,
  MAX_SOCKET_PATH,
} from './listener.ts';
export { Outbox, type OutboxOptions } from './outbox.ts';
export type { Completion, UsedIds } from './pending-requests.ts';
export type { Closeable, Reactor, SocketBuffers, SocketEvents, SocketPort } from './reactor.ts';
export type { UnsentBytes } from './send-buffer.ts';
export type { SpinOptions } from './spin-options.ts';
export { TransportError, type TransportErrorCode } from './transport-error.ts';
