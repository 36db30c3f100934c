export {
  type DecodedMessage,
  decodeMessage,
  type MessageKind,
  type Problem,
  UNDECLARED_KEY,
} from './decode.ts';
export {
  allNodes,
  type FieldNode,
  type FieldPart,
  type FieldValue,
  payloadKey,
  ROOT_KEY,
} from './field-node.ts';
export { printBytes } from './nodes.ts';
export { type PartShape, partsOf, shiftOf } from './part-shape.ts';
export { KNOWN_VERSION, MAX_CHAIN } from './walk-capabilities.ts';
