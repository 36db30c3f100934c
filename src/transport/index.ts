export { Connection } from './connection.ts';
export { type ConnectionMemory, connectionMemory } from './connection-memory.ts';
export type { ConnectionHandler, ConnectionOptions, ConnectionRemains } from './connection-options.ts';
export { DedicatedReactor } from './dedicated-reactor.ts';
export { EventLoopReactor } from './event-loop-reactor.ts';
export { Framer } from './framer.ts';
export { type HeldMessage, HeldMessages } from './held-messages.ts';
export { IncomingMessage, type ReplyTicket } from './incoming-message.ts';
export {
  connect,
  type Listener,
  listen,
  listenOn,
  MAX_SOCKET_PATH,
} from './listener.ts';
export { Outbox } from './outbox.ts';
export type { Completion } from './pending-requests.ts';
export type { Closeable, Reactor, SocketBuffers, SocketEvents, SocketPort } from './reactor.ts';
export type { SpinOptions } from './spin-options.ts';
export { TransportError } from './transport-error.ts';
