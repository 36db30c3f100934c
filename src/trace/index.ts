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
export { formatDuration, timeOfDay } from './durations.ts';
export { describeFacts } from './fd-facts.ts';
export { type FeedOptions, TraceFeed, toNanoseconds } from './feed.ts';
export { type Filter, parseFilter } from './filter.ts';
export { eventJson, messageJson } from './json.ts';
export { type Assembled, MessageAssembler } from './message-assembler.ts';
export {
  READ_PIECE,
  RecordingReader,
  RecordWriter,
  recordingStart,
  TraceError,
} from './recording/index.ts';
export {
  type Answer,
  compareAnswers,
  type Difference,
  type Ignored,
  ignoring,
  MAX_SCRIPT,
  type Script,
  type ScriptedAnswer,
  type ScriptedRequest,
  scriptOf,
} from './replay/index.ts';
export type { StateChange } from './state-watch.ts';
export { type CommandFigures, type Figures, type SlowReply, TraceSummary } from './summary.ts';
export { changeText, eventLines, type LineOptions, messageLines, type TraceStyle } from './text.ts';
export type {
  BytesEvent,
  MessageEvent,
  SocketRole,
  TracedConnection,
  TraceEvent,
} from './trace-event.ts';
