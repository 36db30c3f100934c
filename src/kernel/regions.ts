import type { MappedRegion, RegionArea, RegionInfo } from '../client/index.ts';
import { Errno } from '../errors/index.ts';
import {
  deviceGetRegionInfo,
  littleEndian,
  RegionInfoFlag,
  RegionInfo as RegionInfoLayout,
  type ValueOf,
} from '../protocol/index.ts';
import { callFailed, KernelError, orNull } from './kernel-error.ts';
import type { KernelFile } from './kernel-file.ts';
import { encode } from './uapi/encode.ts';
import { VfioIoctl } from './uapi/ioctls.ts';

/** Room for a chain of 60 areas or so, which saves most regions the second question. */
const FIRST_ARGSZ = 1024;
/** A chain longer than that is none. */
const MAX_ARGSZ = 1 << 20;
const READ = 1;
const WRITE = 2;

type Reply = ValueOf<typeof deviceGetRegionInfo.reply>;

/** The regions of a device. What is known of one does not change while the device is open. */
export class KernelRegions {
  readonly #file: KernelFile;
  readonly #known = new Map<number, RegionInfo>();

  constructor(file: KernelFile) {
    this.#file = file;
  }

  /** DEVICE_GET_REGION_INFO with its capabilities. @throws KernelError EINVAL for an index that there is not */
  info(index: number): RegionInfo {
    const known = this.#known.get(index);
    if (known !== undefined) return known;
    const first = this.#ask(index, FIRST_ARGSZ);
    const reply = first.argsz <= FIRST_ARGSZ ? first : this.#ask(index, Math.min(first.argsz, MAX_ARGSZ));
    const info = interpret(reply);
    this.#known.set(index, info);
    return info;
  }

  /** The same; null for an index that the driver does not have. */
  tryInfo(index: number): RegionInfo | null {
    return orNull(() => this.info(index));
  }

  /** Reads `into.length` bytes. @throws KernelError: a driver may refuse a size or a place */
  read(index: number, offset: number | bigint, into: Uint8Array): void {
    this.#transfer('pread', index, offset, into);
  }

  /** Writes all of `bytes`. */
  write(index: number, offset: number | bigint, bytes: Uint8Array): void {
    this.#transfer('pwrite', index, offset, bytes);
  }

  /** Reads a register of `size` bytes. */
  register(index: number, offset: number | bigint, size: 1 | 2 | 4 | 8): DataView {
    const bytes = new Uint8Array(size);
    this.read(index, offset, bytes);
    return new DataView(bytes.buffer);
  }

  /** Writes a register of `size` bytes; what of `value` does not fit is cut. */
  setRegister(index: number, offset: number | bigint, size: 1 | 2 | 4 | 8, value: number | bigint): void {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt.asUintN(64, BigInt(value)), littleEndian);
    this.write(index, offset, new Uint8Array(view.buffer, 0, size));
  }

  /**
   * Maps what can be mapped of a region. A touch while the device does not answer (memory access switched off) reads
   * zeros instead of killing the process. @throws KernelError ERR_KERNEL_LACKS when that is nothing
   */
  map(index: number): MappedRegion {
    const info = this.info(index);
    if (info.areas.length === 0) {
      const message = `region ${index} can't be mapped`;
      throw new KernelError('ERR_KERNEL_LACKS', message, Errno.ENOTTY, { region: index });
    }
    const { system, fd } = this.#file;
    system.guardMappings();
    const buffers: ArrayBuffer[] = [];
    const close = (): void => {
      for (const buffer of buffers.splice(0)) system.unmap(buffer);
    };
    try {
      const areas = info.areas.map((area) => ({
        offset: Number(area.offset),
        bytes: new Uint8Array(this.#mapArea(info, area, buffers)),
      }));
      return { index, fd, areas, close };
    } catch (error) {
      close();
      throw error;
    }
  }

  #mapArea(info: RegionInfo, { offset, size }: RegionArea, buffers: ArrayBuffer[]): ArrayBuffer {
    const { system, fd } = this.#file;
    const protection = (info.readable ? READ : 0) | (info.writable ? WRITE : 0);
    const buffer = system.map(fd, Number(info.fileOffset + offset), Number(size), protection);
    const context = { region: info.index, offset, size };
    if (typeof buffer === 'number') throw callFailed('mmap', -buffer, context);
    buffers.push(buffer);
    return buffer;
  }

  #transfer(call: 'pread' | 'pwrite', index: number, offset: number | bigint, bytes: Uint8Array): void {
    const { fileOffset, size } = this.info(index);
    const at = BigInt(offset);
    const context = { region: index, offset, length: bytes.length };
    if (at < 0n || at + BigInt(bytes.length) > size) {
      const message = `region ${index} has ${size} bytes: there are no ${bytes.length} at ${offset}`;
      throw new KernelError('ERR_KERNEL_ARGUMENT', message, Errno.EINVAL, context);
    }
    const { system, fd } = this.#file;
    for (let done = 0; done < bytes.length; ) {
      const position = fileOffset + at + BigInt(done);
      const result = system[call](fd, bytes, done, bytes.length - done, position);
      if (result < 0) throw callFailed(call, -result, context);
      if (result === 0) throw callFailed(call, Errno.EIO, context, 'the driver transferred nothing');
      done += result;
    }
  }

  #ask(index: number, argsz: number): Reply {
    const request = { argsz, flags: 0, index, capOffset: 0, size: 0n, offset: 0n };
    const argument = encode(RegionInfoLayout, request, argsz - RegionInfoLayout.size);
    this.#file.ioctl(VfioIoctl.DEVICE_GET_REGION_INFO, { argument, context: { region: index } });
    const { argsz: needed } = RegionInfoLayout.read(new DataView(argument.buffer), 0);
    // With too little room the kernel gives the fixed part alone, whose offset of capabilities is 0 then.
    return deviceGetRegionInfo.reply.decode(
      argument.subarray(0, Math.max(Math.min(needed, argsz), RegionInfoLayout.size)),
    );
  }
}

function interpret(reply: Reply): RegionInfo {
  const mappable = (reply.flags & RegionInfoFlag.MMAP) !== 0;
  const type = reply.capabilities.find((each) => each.kind === 'type');
  return {
    index: reply.index,
    size: reply.size,
    fileOffset: reply.offset,
    readable: (reply.flags & RegionInfoFlag.READ) !== 0,
    writable: (reply.flags & RegionInfoFlag.WRITE) !== 0,
    mappable,
    areas: mappable ? areasOf(reply) : [],
    ...(type === undefined ? {} : { kind: { type: type.type, subtype: type.subtype } }),
  };
}

/** The sparse areas, or all of the region. */
function areasOf({ capabilities, size }: Reply): readonly RegionArea[] {
  const sparse = capabilities.find((each) => each.kind === 'sparse-mmap');
  return sparse === undefined ? [{ offset: 0n, size }] : sparse.areas;
}
