import { Command, FEATURE_MASK, Feature, FeatureFlag, littleEndian } from '../protocol/index.ts';
import type { IncomingMessage } from '../transport/index.ts';

/** Bytes of a DEVICE_FEATURE before its data: argsz and flags. */
const HEAD = 8;
const FLAGS_AT = 4;

/**
 * Whether a command of the client is a part of a migration of its own, or of DMA logging. While the proxy carries the
 * state over, these are for nobody else.
 */
export function isOwnMigration({ command, view, start, length }: IncomingMessage): boolean {
  if (command === Command.MIG_DATA_READ || command === Command.MIG_DATA_WRITE) return true;
  if (command !== Command.DEVICE_FEATURE || length < HEAD) return false;
  const flags = view.getUint32(start + FLAGS_AT, littleEndian);
  if ((flags & FeatureFlag.PROBE) !== 0) return false;
  const feature = flags & FEATURE_MASK;
  return feature === Feature.MIG_DEVICE_STATE || feature === Feature.DMA_LOGGING_START;
}
