import { DeviceError } from '../../device/index.ts';
import { Errno } from '../../errors/index.ts';
import { EVENT_REQUESTS, MAX_ENTRIES, QUEUES, VECTORS } from './limits.ts';
import type { NamespaceBackend } from './namespace.ts';
import type { NvmeState } from './state.ts';

/** Throws DeviceError (ERR_DEVICE_MIGRATION) for a state that was loaded and belongs to another namespace. */
export function requireSameNamespace({ blocks, blockSize }: NvmeState, own: NamespaceBackend): void {
  if (blocks === BigInt(own.blocks) && blockSize === own.blockSize) return;
  throw unsuitable(
    `the state is that of a namespace with ${blocks} blocks of ${blockSize} bytes, and this one has ${own.blocks} of ${own.blockSize}: give both sides the same storage`,
  );
}

/** Throws DeviceError (ERR_DEVICE_MIGRATION) for a state that no controller can have had. */
export function requireSoundState(state: NvmeState): void {
  for (let id = 0; id < QUEUES; id++) {
    const submission = state.submissionSize[id] ?? 0;
    const completion = state.completionSize[id] ?? 0;
    const target = state.submissionTarget[id] ?? 0;
    const sound =
      isRing(submission, [state.submissionHead[id], state.submissionTail[id]]) &&
      isRing(completion, [state.completionHead[id], state.completionTail[id]]) &&
      (state.completionVector[id] ?? 0) < VECTORS &&
      (submission === 0 || (state.completionSize[target] ?? 0) > 0);
    if (!sound) throw unsuitable(`queue ${id} of the state is none that a controller can have`);
  }
  if (state.eventRequestCount > EVENT_REQUESTS)
    throw unsuitable(`the state has ${state.eventRequestCount} event requests of ${EVENT_REQUESTS}`);
}

/** Whether a queue can have so many entries, and stand at these of them; 0 entries are no queue. */
function isRing(size: number, places: readonly (number | undefined)[]): boolean {
  if (size === 0) return true;
  return size >= 2 && size <= MAX_ENTRIES && places.every((place = size) => place < size);
}

function unsuitable(message: string): DeviceError {
  return new DeviceError('ERR_DEVICE_MIGRATION', message, { errno: Errno.EINVAL });
}
