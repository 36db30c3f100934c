import { Errno } from '../errors/index.ts';
import {
  Command,
  deviceFeature,
  FEATURE_MASK,
  FeatureFlag,
  FeatureHead,
  ProtocolError,
} from '../protocol/index.ts';
import type { Operation } from './operation.ts';
import { RemoteError } from './remote-error.ts';

const { GET, SET, PROBE } = FeatureFlag;
const NO_DATA = new Uint8Array(0);

/**
 * Errno values by which a server says that it does not have a feature: ENOTTY is the kernel's, EINVAL libvfio-user's,
 * the others those of servers that lack DEVICE_FEATURE altogether.
 */
const LACKING: ReadonlySet<number> = new Set([Errno.ENOTTY, Errno.EINVAL, Errno.EOPNOTSUPP, Errno.ENOSYS]);

/** Whether an error says that the server does not have a feature. */
export function isLacking(error: unknown): error is RemoteError {
  return error instanceof RemoteError && LACKING.has(error.errno);
}

/** GET: the data of the reply, of at most `size` bytes; valid until the next yield. */
export function* getFeature(
  feature: number,
  size: number,
  data: Uint8Array = NO_DATA,
): Operation<Uint8Array> {
  return yield* perform(feature | GET, FeatureHead.size + Math.max(size, data.length), data);
}

/** SET: the data of the reply; valid until the next yield. */
export function* setFeature(feature: number, data: Uint8Array): Operation<Uint8Array> {
  return yield* perform(feature | SET, FeatureHead.size + data.length, data);
}

/** PROBE: whether the device has the feature, with all of `methods` (FeatureFlag.GET, SET). */
export function* probeFeature(feature: number, methods: number): Operation<boolean> {
  try {
    yield* perform((feature & FEATURE_MASK) | (methods & (GET | SET)) | PROBE, FeatureHead.size, NO_DATA);
    return true;
  } catch (error) {
    if (error instanceof RemoteError) return false;
    throw error;
  }
}

function* perform(flags: number, argsz: number, data: Uint8Array): Operation<Uint8Array> {
  const payload = deviceFeature.request.encode({ argsz, flags, data });
  const message = yield { command: Command.DEVICE_FEATURE, payload };
  const reply = deviceFeature.reply.decode(message.payload());
  if (reply.flags !== flags) {
    throw new ProtocolError('DEVICE_FEATURE reply: it is about another feature or method', {
      context: { message: 'DEVICE_FEATURE reply', field: 'flags', asked: flags, answered: reply.flags },
    });
  }
  return reply.data;
}
