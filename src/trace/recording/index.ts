export {
  At,
  FD_SIZE,
  FdAt,
  FIXED_SIZE,
  LINK_TYPE,
  RecordFlag,
  RecordKind,
  VERSION,
} from './encapsulation.ts';
export { READ_PIECE, RecordingReader } from './reader.ts';
export { TraceError } from './trace-error.ts';
export { RecordWriter, recordingStart } from './writer.ts';
