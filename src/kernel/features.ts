import { Errno } from '../errors/index.ts';
import type { Fields, Struct, StructValue } from '../protocol/index.ts';
import { FeatureFlag, FeatureHead, featureName } from '../protocol/index.ts';
import { callFailed } from './kernel-error.ts';
import type { KernelFile } from './kernel-file.ts';
import { VfioIoctl } from './uapi/ioctls.ts';

const { GET, SET, PROBE } = FeatureFlag;
/** What a kernel or a driver answers that does not have a feature, or one of its methods. */
const LACKING: ReadonlySet<number> = new Set([Errno.ENOTTY, Errno.EINVAL, Errno.EOPNOTSUPP]);

/** A pointer in the data of a feature. */
export interface FeaturePointer {
  readonly pointee: Uint8Array;
  /** Where it is in the data. */
  readonly at: number;
}

/** The features of a device (DEVICE_FEATURE). */
export class KernelFeatures {
  readonly #file: KernelFile;

  constructor(file: KernelFile) {
    this.#file = file;
  }

  /** Whether the device has a feature with all of these methods (FeatureFlag.GET, SET; 0: the feature alone). */
  probe(feature: number, methods: number): boolean {
    return this.tryRaw(feature, methods | PROBE, FeatureHead.size) >= 0;
  }

  /**
   * DEVICE_FEATURE with flags and a size as they are given, for who wants to know how the kernel takes what is not
   * allowed; what it returned, an errno negated.
   */
  tryRaw(feature: number, flags: number, argsz: number): number {
    const data = new Uint8Array(Math.max(argsz - FeatureHead.size, 0) + ROOM);
    return this.#file.try(VfioIoctl.DEVICE_FEATURE, { argument: request(feature, flags, data, argsz) });
  }

  /** Gets a feature; null when the device does not have it. @throws KernelError */
  get<F extends Fields>(feature: number, layout: Struct<F>): StructValue<F> | null {
    const argument = request(feature, GET, new Uint8Array(layout.size));
    const result = this.#file.try(VfioIoctl.DEVICE_FEATURE, { argument });
    if (result >= 0) return layout.read(new DataView(argument.buffer), FeatureHead.size);
    if (LACKING.has(-result)) return null;
    throw this.#failed(feature, -result);
  }

  /**
   * Sets a feature, or gets one that is told what (`method`), on another thread: it may take long. The answer, or an
   * errno negated.
   */
  async trySet<F extends Fields>(
    feature: number,
    layout: Struct<F>,
    value: StructValue<F>,
    method: number = SET,
    pointer?: FeaturePointer,
  ): Promise<StructValue<F> | number> {
    const data = new Uint8Array(layout.size);
    layout.write(new DataView(data.buffer), 0, value);
    const argument = request(feature, method, data);
    const at = FeatureHead.size + (pointer?.at ?? 0);
    const pointee = pointer === undefined ? {} : { pointee: pointer.pointee, at };
    const result = await this.#file.tryLater(VfioIoctl.DEVICE_FEATURE, { argument, ...pointee });
    return result < 0 ? result : layout.read(new DataView(argument.buffer), FeatureHead.size);
  }

  /** The same, which must succeed. @throws KernelError */
  async set<F extends Fields>(...args: Parameters<typeof this.trySet<F>>): Promise<StructValue<F>> {
    const answer = await this.trySet(...args);
    if (typeof answer === 'number') throw this.#failed(args[0], -answer);
    return answer;
  }

  #failed(feature: number, errno: number): Error {
    const code = errno === Errno.ENOTTY || errno === Errno.EOPNOTSUPP ? 'ERR_KERNEL_LACKS' : 'ERR_KERNEL';
    const context = { device: this.#file.name, feature: featureName(feature) };
    return callFailed('VFIO_DEVICE_FEATURE', errno, context, '', code);
  }
}

/** The kernel looks at argsz alone: what it might write beyond a size that is too small must be ours. */
const ROOM = 64;

function request(feature: number, flags: number, data: Uint8Array, argsz?: number): Uint8Array {
  const argument = new Uint8Array(FeatureHead.size + data.length);
  const head = { argsz: argsz ?? argument.length, flags: (flags | feature) >>> 0 };
  FeatureHead.write(new DataView(argument.buffer), 0, head);
  argument.set(data, FeatureHead.size);
  return argument;
}
