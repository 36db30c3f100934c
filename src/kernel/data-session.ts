import { setTimeout as sleep } from 'node:timers/promises';
import { Errno } from '../errors/index.ts';
import { PrecopyInfo, PrecopyInfoFlag } from '../protocol/index.ts';
import type { SessionKind } from '../states/index.ts';
import { callFailed, KernelError } from './kernel-error.ts';
import { KernelFile } from './kernel-file.ts';
import type { KernelSystem } from './system.ts';
import { decode, encode } from './uapi/encode.ts';
import { VfioIoctl } from './uapi/ioctls.ts';

/** poll(2), poll.h. */
const POLLIN = 1;
/** How long to wait for data where a driver does not tell when there is some, in milliseconds. */
const TIMER_MS = 10;

/** What pre-copy still has to give, in bytes. */
export interface KernelPrecopyInfo {
  readonly initialBytes: bigint;
  readonly dirtyBytes: bigint;
  /** There is new initial data; false where the driver does not say (before PRECOPY_INFOv2). */
  readonly reinitialized: boolean;
}

/** The file through which a device's state is read or written; it belongs to one session. */
export class DataSession {
  readonly kind: SessionKind;
  /** The file itself, for who wants to know how a driver takes what is not allowed. */
  readonly file: KernelFile;

  /** Takes `fd` over. */
  constructor(system: KernelSystem, fd: number, kind: SessionKind, device: string) {
    this.kind = kind;
    this.file = new KernelFile(system, fd, `the ${kind} session of ${device}`);
  }

  /**
   * Reads what is there, at most what fits. 0: nothing more, for now where the device still runs. Only one read may be
   * under way. @throws KernelError
   */
  async read(into: Uint8Array): Promise<number> {
    const result = await this.file.system.readLater(this.file.fd, into);
    if (result >= 0) return result;
    // "-ENOMSG: there is no more initial or dirty data for now"; a driver may say 0 as well.
    if (result === -Errno.ENOMSG) return 0;
    throw this.#failed('read', -result);
  }

  /** Fills `into` at once as far as there is data; how much that was. @throws KernelError */
  readNow(into: Uint8Array): number {
    const { system, fd } = this.file;
    let done = 0;
    while (done < into.length) {
      const result = system.readNow(fd, into.subarray(done));
      if (result === 0 || result === -Errno.ENOMSG) break;
      if (result < 0) throw this.#failed('read', -result);
      done += result;
    }
    return done;
  }

  /** Writes all of `bytes` at once. @throws KernelError */
  writeNow(bytes: Uint8Array): void {
    const { system, fd } = this.file;
    for (let done = 0; done < bytes.length; ) {
      const result = system.writeNow(fd, bytes.subarray(done));
      if (result <= 0) throw this.#failed('write', result < 0 ? -result : Errno.EIO);
      done += result;
    }
  }

  /** Writes all of `bytes`. @throws KernelError */
  async write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const result = await this.file.system.writeLater(this.file.fd, bytes.subarray(done));
      if (result < 0) throw this.#failed('write', -result);
      if (result === 0) throw this.#failed('write', Errno.EIO);
      done += result;
    }
  }

  /** Whether a read would find something now. A driver that can't tell (no poll) always says so. */
  isReadable(): boolean {
    const { system, fd } = this.file;
    const set = new Int32Array([fd, POLLIN, 0]);
    return system.poll(set, 1, 0) > 0;
  }

  /**
   * Waits for data for at most `ms`; false: not in time. Where the driver does not tell when there is some, it waits a
   * moment and says true: try.
   */
  async waitReadable(ms: number): Promise<boolean> {
    const { system, fd } = this.file;
    let ready: (readable: boolean) => void = () => {};
    const readable = new Promise<boolean>((resolve) => {
      ready = resolve;
    });
    const watch = system.watchStart(fd, () => ready(true));
    if (typeof watch === 'number') {
      // EPERM: the driver has no poll.
      await sleep(Math.min(ms, TIMER_MS));
      return true;
    }
    const timer = setTimeout(() => ready(false), ms);
    try {
      return await readable;
    } finally {
      clearTimeout(timer);
      system.watchClose(watch);
    }
  }

  /**
   * MIG_GET_PRECOPY_INFO; null where the driver, or the state, has none. Without `flagsAreValid` the field with the
   * flags means nothing: older drivers leave in it what was there.
   */
  async precopyInfo(flagsAreValid: boolean): Promise<KernelPrecopyInfo | null> {
    const argument = emptyInfo();
    const result = await this.file.tryLater(VfioIoctl.MIG_GET_PRECOPY_INFO, { argument });
    return this.#infoIn(argument, result, flagsAreValid);
  }

  /** The same at once. */
  precopyInfoNow(): KernelPrecopyInfo | null {
    const argument = emptyInfo();
    const result = this.file.try(VfioIoctl.MIG_GET_PRECOPY_INFO, { argument });
    return this.#infoIn(argument, result, false);
  }

  /** Idempotent. */
  close(): void {
    this.file.close();
  }

  #infoIn(argument: Uint8Array, result: number, flagsAreValid: boolean): KernelPrecopyInfo | null {
    if (result === -Errno.ENOTTY || result === -Errno.EINVAL) return null;
    if (result < 0) throw this.#failed('VFIO_MIG_GET_PRECOPY_INFO', -result);
    const { initialBytes, dirtyBytes, flags } = decode(PrecopyInfo, argument);
    return {
      initialBytes,
      dirtyBytes,
      reinitialized: flagsAreValid && (flags & PrecopyInfoFlag.REINIT) !== 0,
    };
  }

  #failed(call: string, errno: number): KernelError {
    if (errno !== Errno.ENODEV) return callFailed(call, errno, { file: this.file.name });
    const message = `${this.file.name} is over: the device has left the state, or was reset by somebody else`;
    return new KernelError('ERR_SESSION_ABORTED', message, errno, { call });
  }
}

function emptyInfo(): Uint8Array {
  return encode(PrecopyInfo, { argsz: PrecopyInfo.size, flags: 0, initialBytes: 0n, dirtyBytes: 0n });
}
