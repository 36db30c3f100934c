export type { Crc32 } from './checksum.ts';
export {
  type BlockSchema,
  type DeviceImage,
  type DirtyRun,
  ELEMENT_SIZE,
  type FieldSchema,
  type FieldType,
  fieldSize,
  type ImageBlock,
  type ImageIdentity,
  type ImagePart,
  type ImageSchema,
  PAGE_SIZE,
  qualifiedName,
} from './device-image.ts';
export { requireSoundImage } from './image-header.ts';
export { StateReader } from './state-reader.ts';
export { type PrecopyInfo, StateWriter } from './state-writer.ts';
export { STREAM_ERRORS, StreamError, type StreamErrorCode } from './stream-error.ts';
