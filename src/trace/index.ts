export { Conversation, type Told } from './conversation.ts';
export {
  allNodes,
  type DecodedMessage,
  decodeMessage,
  type FieldNode,
  type FieldPart,
  type FieldValue,
  type MessageKind,
  type Problem,
} from './decode/index.ts';
export { renderDissector } from './dissector/index.ts';
export { describeFacts, FD_KINDS, type FdFacts, type FdKind } from './fd-facts.ts';
export { type Assembled, MessageAssembler } from './message-assembler.ts';
export {
  READ_PIECE,
  RecordingReader,
  recordEvent,
  recordingStart,
  TraceError,
} from './recording/index.ts';
export type { StateChange } from './state-watch.ts';
export type {
  BytesEvent,
  MessageEvent,
  SocketRole,
  TracedConnection,
  TraceEvent,
} from './trace-event.ts';
