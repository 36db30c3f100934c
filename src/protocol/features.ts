import { Errno } from '../errors/index.ts';
import { MigrationFlag, stateName } from '../states/index.ts';
import { bitmapSize } from './bitmap-size.ts';
import { Feature, featureName } from './feature.ts';
import { flags } from './flags.ts';
import { i32, padding, struct, u32, u64, type ValueOfStruct } from './layout.ts';
import { MAX_BITMAP_SIZE, MAX_LOGGING_RANGES, MIN_REPORT_PAGE_SIZE } from './limits.ts';
import { type AnyPayload, payload, type Rule } from './payload.ts';
import { isPowerOfTwo } from './rules.ts';
import { array, bytes } from './tails.ts';

/** A method of a feature: the data of its request (null: none is read) and of its reply. */
export interface FeatureMethod<
  Q extends AnyPayload | null = AnyPayload | null,
  P extends AnyPayload = AnyPayload,
> {
  readonly request: Q;
  readonly reply: P;
  /** The smallest data of the request or the reply, whichever is larger, bytes. */
  readonly minSize: number;
}

/** A device feature. Its data begins 8 bytes into the payload of DEVICE_FEATURE. */
export interface FeatureDeclaration<
  G extends FeatureMethod | null = FeatureMethod | null,
  S extends FeatureMethod | null = FeatureMethod | null,
> {
  readonly id: Feature;
  readonly name: string;
  readonly doc: string;
  readonly get: G;
  readonly set: S;
}

/** Migration flags with names for printing (linux/vfio.h, VFIO_MIGRATION_). */
export const migrationFlags = flags(MigrationFlag, {
  STOP_COPY: 'the device can be saved while stopped; always set',
  P2P: 'the device has the P2P states',
  PRE_COPY: 'the device can be saved while running',
});

/** Data of MIGRATION (linux/vfio.h, struct vfio_device_feature_migration). */
export const FeatureMigration = struct('migration', {
  flags: u64('which states the device has', { format: migrationFlags }),
});

/** Data of MIG_DEVICE_STATE (linux/vfio.h, struct vfio_device_feature_mig_state). */
export const FeatureDeviceState = struct('device state', {
  deviceState: u32('GET: the state; SET: where to go', { format: stateName }),
  dataFd: i32('unused on a socket: sent as -1, ignored, echoed'),
});

/** Data of MIG_DATA_SIZE (linux/vfio.h, struct vfio_device_feature_mig_data_size). */
export const FeatureDataSize = struct('data size', {
  stopCopyLength: u64('estimate of what STOP_COPY would transfer now, bytes'),
});

/** The fixed data of DMA_LOGGING_START. */
export const LoggingControl = struct('DMA logging control', {
  pageSize: u64('SET: wanted granularity, bytes; reply: what the device took'),
  numRanges: u32('how many ranges follow; 0: everything is logged'),
  reserved: padding(4),
});

/** A range of DMA_LOGGING_START. */
export const LoggingRange = struct('DMA logging range', {
  iova: u64('first IOVA', { format: 'hex' }),
  length: u64('bytes', { format: 'hex' }),
});

/** The value of {@link LoggingRange}. */
export type LoggingRange = ValueOfStruct<typeof LoggingRange>;

/** The fixed data of DMA_LOGGING_REPORT. */
export const LoggingReport = struct('DMA logging report', {
  iova: u64('first IOVA', { format: 'hex' }),
  length: u64('bytes', { format: 'hex' }),
  pageSize: u64('bytes that one bit stands for'),
});

/** The value of {@link LoggingReport}. */
export type LoggingReport = ValueOfStruct<typeof LoggingReport>;

/** Unlike DMA_MAP, a logged range must end before 2^64: the kernel checks the sum, not the last byte. */
const LAST_END = (1n << 64n) - 1n;
const ends = ({ iova, length }: LoggingRange): boolean => iova + length <= LAST_END;

type Control = ValueOfStruct<typeof LoggingControl> & { readonly ranges: readonly LoggingRange[] };

const controlRules: readonly Rule<ValueOfStruct<typeof LoggingControl>>[] = [
  {
    field: 'numRanges',
    must: `be at most ${MAX_LOGGING_RANGES}`,
    source: 'kernel, vfio_main.c, LOG_MAX_RANGES: E2BIG',
    errno: Errno.E2BIG,
    holds: ({ numRanges }) => numRanges <= MAX_LOGGING_RANGES,
  },
  {
    field: 'pageSize',
    must: 'be a power of two',
    source: 'kernel, vfio_main.c: the alignment of the ranges to it presumes so; libvfio-user: EINVAL for 0',
    holds: ({ pageSize }) => isPowerOfTwo(pageSize),
  },
];

const rangeRules: readonly Rule<Control>[] = [
  {
    field: 'ranges',
    must: 'be aligned to page_size, each longer than 0',
    source: 'kernel, vfio_main.c: EINVAL',
    holds: ({ ranges, pageSize }) =>
      ranges.every(({ iova, length }) => length > 0n && iova % pageSize === 0n && length % pageSize === 0n),
  },
  {
    field: 'ranges',
    must: 'end before 2^64',
    source: 'kernel, vfio_main.c: EOVERFLOW',
    errno: Errno.EOVERFLOW,
    holds: ({ ranges }) => ranges.every(ends),
  },
  {
    field: 'ranges',
    must: 'not overlap',
    source: 'kernel, vfio_main.c: EINVAL',
    holds: ({ ranges }) => apart(ranges),
  },
];

const reportRules: readonly Rule<LoggingReport>[] = [
  {
    field: 'pageSize',
    must: `be a power of two and at least ${MIN_REPORT_PAGE_SIZE}`,
    source: 'text: "must be a power of two"; kernel, vfio_main.c: EINVAL',
    holds: ({ pageSize }) => pageSize >= MIN_REPORT_PAGE_SIZE && isPowerOfTwo(pageSize),
  },
  {
    field: 'iova',
    must: 'end before 2^64',
    source: 'kernel, vfio_main.c: EOVERFLOW',
    errno: Errno.EOVERFLOW,
    holds: ends,
  },
  {
    field: 'length',
    must: `not be 0, nor need a bitmap of more than ${MAX_BITMAP_SIZE} bytes`,
    source:
      'libvfio-user: EINVAL for less than a page; the largest bitmap is that of the kernel for DMA_UNMAP',
    holds: ({ length, pageSize }) => length > 0n && bitmapSize(length, pageSize) <= MAX_BITMAP_SIZE,
  },
];

const logging = {
  fixed: LoggingControl,
  tail: array('ranges', 'the ranges to log', LoggingRange, { count: 'numRanges' }),
  fixedRules: controlRules,
  rules: rangeRules,
};

const reportReplyRules: readonly Rule<LoggingReport & { readonly bitmap: Uint8Array }>[] = [
  ...reportRules,
  {
    field: 'bitmap',
    must: 'have a bit per page, rounded up to 64',
    source: 'text, VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT',
    holds: ({ bitmap, length, pageSize }) => BigInt(bitmap.length) === bitmapSize(length, pageSize),
  },
];

const nothing = struct('nothing', {});

/** Every device feature that Ferry knows, by name. */
export const features = {
  MIGRATION: feature(Feature.MIGRATION, 'Whether the device can migrate, and through which states.', {
    get: method(null, payload('MIGRATION GET reply', { fixed: FeatureMigration })),
  }),
  MIG_DEVICE_STATE: feature(Feature.MIG_DEVICE_STATE, 'The migration state of the device.', {
    get: method(null, payload('MIG_DEVICE_STATE GET reply', { fixed: FeatureDeviceState })),
    set: method(
      payload('MIG_DEVICE_STATE SET request', { fixed: FeatureDeviceState, trailing: 'tolerated' }),
      payload('MIG_DEVICE_STATE SET reply', { fixed: FeatureDeviceState, trailing: 'tolerated' }),
    ),
  }),
  DMA_LOGGING_START: feature(
    Feature.DMA_LOGGING_START,
    'Starts to log which pages the device writes by DMA.',
    {
      set: method(
        payload('DMA_LOGGING_START SET request', logging),
        payload('DMA_LOGGING_START SET reply', logging),
      ),
    },
  ),
  DMA_LOGGING_STOP: feature(Feature.DMA_LOGGING_STOP, 'Stops logging.', {
    set: method(
      payload('DMA_LOGGING_STOP SET request', { fixed: nothing, trailing: 'tolerated' }),
      payload('DMA_LOGGING_STOP SET reply', { fixed: nothing, trailing: 'tolerated' }),
    ),
  }),
  DMA_LOGGING_REPORT: feature(
    Feature.DMA_LOGGING_REPORT,
    'Which pages were written since the last report; clears them.',
    {
      get: method(
        payload('DMA_LOGGING_REPORT GET request', {
          fixed: LoggingReport,
          trailing: 'tolerated',
          rules: reportRules,
        }),
        payload('DMA_LOGGING_REPORT GET reply', {
          fixed: LoggingReport,
          tail: bytes('bitmap', 'bit i of the little-endian bytes is page i of the range', { unit: 8 }),
          rules: reportReplyRules,
        }),
      ),
    },
  ),
  MIG_DATA_SIZE: feature(
    Feature.MIG_DATA_SIZE,
    'How much STOP_COPY would transfer now. Not in the text; as in the kernel.',
    {
      get: method(null, payload('MIG_DATA_SIZE GET reply', { fixed: FeatureDataSize })),
    },
  ),
};

const byNumber: ReadonlyMap<number, FeatureDeclaration> = new Map(
  Object.values(features).map((declaration) => [declaration.id, declaration]),
);

/** The declaration of a feature by its number; undefined when Ferry does not know it. */
export function featureOf(number: number): FeatureDeclaration | undefined {
  return byNumber.get(number);
}

function method<Q extends AnyPayload | null, P extends AnyPayload>(
  request: Q,
  reply: P,
): FeatureMethod<Q, P> {
  return { request, reply, minSize: Math.max(request?.minSize ?? 0, reply.minSize) };
}

function feature<G extends FeatureMethod | null = null, S extends FeatureMethod | null = null>(
  id: Feature,
  doc: string,
  methods: { readonly get?: G; readonly set?: S },
): FeatureDeclaration<G, S> {
  // An absent method is null, which is what G and S default to when nothing is given.
  const { get = null as G, set = null as S } = methods;
  return { id, name: featureName(id), doc, get, set };
}

/** Whether no two of the ranges share a byte. */
function apart(all: readonly LoggingRange[]): boolean {
  const sorted = all.toSorted((a, b) => (a.iova < b.iova ? -1 : 1));
  return sorted.every((range, i) => {
    const next = sorted[i + 1];
    return next === undefined || range.iova + range.length <= next.iova;
  });
}
