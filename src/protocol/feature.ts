import { Errno } from '../errors/index.ts';
import { Command } from './commands.ts';
import { flags } from './flags.ts';
import { struct, u32, type ValueOfStruct } from './layout.ts';
import { message } from './message.ts';
import { payload } from './payload.ts';
import { ProtocolError } from './protocol-error.ts';
import { argszAtLeast } from './rules.ts';
import { bytes } from './tails.ts';

/** Device features by number (linux/vfio.h, VFIO_DEVICE_FEATURE_): those that make sense on a socket. */
export const Feature = {
  MIGRATION: 1,
  MIG_DEVICE_STATE: 2,
  DMA_LOGGING_START: 6,
  DMA_LOGGING_STOP: 7,
  DMA_LOGGING_REPORT: 8,
  MIG_DATA_SIZE: 9,
} as const;

/** A feature number that Ferry knows. */
export type Feature = (typeof Feature)[keyof typeof Feature];

const names = new Map<number, string>(Object.entries(Feature).map(([name, number]) => [number, name]));

/** The name of a feature without its prefix, or `feature N` when it is none of ours. */
export function featureName(feature: number): string {
  return names.get(feature) ?? `feature ${feature}`;
}

/** The bits of DEVICE_FEATURE's flags above the feature number (linux/vfio.h, VFIO_DEVICE_FEATURE_). */
export const FeatureFlag = flags(
  { GET: 0x1_0000, SET: 0x2_0000, PROBE: 0x4_0000 },
  {
    GET: 'get the data of the feature',
    SET: 'set the data of the feature',
    PROBE: 'only say whether the feature, and GET or SET if also given, would work',
  },
);

/** The bits of the flags that hold the feature number. */
export const FEATURE_MASK = 0xffff;

const { GET, SET, PROBE } = FeatureFlag;

/** The fixed part of DEVICE_FEATURE (linux/vfio.h, struct vfio_device_feature). */
export const FeatureHead = struct('device feature', {
  argsz: u32('request: largest reply payload; reply: bytes of the payload'),
  flags: u32('feature number and what to do with it', {
    format: (value) =>
      `${FeatureFlag.print((value & ~FEATURE_MASK) >>> 0)}|${featureName(value & FEATURE_MASK)}`,
  }),
});

/** The value of {@link FeatureHead}. */
export type FeatureHead = ValueOfStruct<typeof FeatureHead>;

/** DEVICE_FEATURE (vfio-user.rst, VFIO_USER_DEVICE_FEATURE). The data is declared per feature, see `features`. */
export const deviceFeature = message({
  command: Command.DEVICE_FEATURE,
  doc: 'Gets, sets or probes a feature of the device. The reply to SET and PROBE echoes the request.',
  request: payload('DEVICE_FEATURE request', {
    fixed: FeatureHead,
    tail: bytes('data', 'depends on the feature'),
    rules: [
      argszAtLeast(FeatureHead.size, 'kernel, vfio_main.c: EINVAL'),
      {
        field: 'flags',
        must: 'have no bits besides the feature, GET, SET and PROBE',
        source: 'kernel, vfio_main.c: EINVAL',
        holds: (value) => (value.flags & ~(FEATURE_MASK | FeatureFlag.mask)) === 0,
      },
      {
        field: 'flags',
        must: 'not have both GET and SET without PROBE',
        source: 'text: "mutually exclusive, except for use with" PROBE; kernel, vfio_main.c: EINVAL',
        holds: (value) => (value.flags & (GET | SET | PROBE)) !== (GET | SET),
      },
    ],
  }),
  reply: payload('DEVICE_FEATURE reply', {
    fixed: FeatureHead,
    tail: bytes('data', 'depends on the feature'),
  }),
});

/** What one DEVICE_FEATURE request asks for. */
export type FeatureOperation = 'get' | 'set' | 'probe';

/** What {@link featureOperation} has to know of a feature. */
export interface FeatureMethods {
  readonly id: number;
  readonly name: string;
  /** The smallest data that GET has to have room for, bytes; null: no GET. */
  readonly get: { readonly minSize: number } | null;
  /** The smallest data of SET, bytes; null: no SET. */
  readonly set: { readonly minSize: number } | null;
}

/**
 * What a request wants, after the rules of the message itself have been checked by decoding it. `feature` is undefined
 * when this device does not have the feature. The order of the checks is the kernel's (vfio_main.c and
 * vfio_check_feature): unknown feature ENOTTY; a method that it lacks EINVAL; PROBE succeeds; no method EINVAL; argsz
 * too small for the data EINVAL. Throws ProtocolError.
 */
export function featureOperation(
  request: FeatureHead,
  feature: FeatureMethods | undefined,
): FeatureOperation {
  const { flags: bits, argsz } = request;
  if (feature === undefined) {
    refuse(bits, 'is not supported by this device', Errno.ENOTTY, 'ERR_PROTOCOL_UNSUPPORTED');
  }
  if ((bits & GET) !== 0 && feature.get === null) refuse(bits, 'has no GET');
  if ((bits & SET) !== 0 && feature.set === null) refuse(bits, 'has no SET');
  if ((bits & PROBE) !== 0) return 'probe';
  const method = (bits & GET) !== 0 ? feature.get : (bits & SET) !== 0 ? feature.set : null;
  if (method === null) refuse(bits, 'needs GET, SET or PROBE');
  const needed = FeatureHead.size + method.minSize;
  if (argsz < needed) refuse(bits, `needs argsz of at least ${needed}, not ${argsz}`);
  return method === feature.get ? 'get' : 'set';
}

function refuse(
  bits: number,
  what: string,
  errno: number = Errno.EINVAL,
  code: 'ERR_PROTOCOL_UNSUPPORTED' | 'ERR_PROTOCOL_MALFORMED' = 'ERR_PROTOCOL_MALFORMED',
): never {
  const feature = featureName(bits & FEATURE_MASK);
  throw new ProtocolError(`DEVICE_FEATURE request: ${feature} ${what}`, {
    errno,
    code,
    context: { message: 'DEVICE_FEATURE request', field: 'flags', byte: FeatureHead.at.flags, feature },
  });
}
