export {
  type ArrayDeclaration,
  type ArrayOptions,
  type BytesOptions,
  bool,
  bytes,
  type DeclarationOptions,
  type MemoryDeclaration,
  type MemoryOptions,
  memory,
  type ScalarDeclaration,
  type ScalarOptions,
  u8,
  u16,
  u32,
  u64,
} from './declarations.ts';
export { DeclaredImage, type DeclaredImageOptions } from './declared-image.ts';
export {
  DeclaredState,
  declareState,
  type LiveState,
  type StateOptions,
  type StatePart,
  type StateShape,
} from './declared-state.ts';
export { MemoryBlock } from './memory-block.ts';
export { DeclaredStateError, type DeclaredStateErrorCode } from './state-error.ts';
