import { Errno, type ErrorContext } from '../errors/index.ts';
import type { DmaMemory } from '../native/index.ts';
import { callFailed, KernelError, type KernelErrorCode } from './kernel-error.ts';
import type { KernelSystem } from './system.ts';
import { ioctlName } from './uapi/ioctls.ts';

/** What an ioctl is given besides its number. */
export interface IoctlArgument {
  /** The structure, or a plain value; 0 by default. */
  readonly argument?: Uint8Array | number;
  /** What a pointer in the structure points at, and where that pointer is. */
  readonly pointee?: Uint8Array | DmaMemory;
  readonly at?: number;
  /** For messages. */
  readonly context?: ErrorContext;
}

/** Where a call goes wrong in a way that has a remedy: errno to what to do. */
export type Advice = Readonly<Partial<Record<number, string>>>;

/** An open file of the kernel, and the calls to it. */
export class KernelFile {
  readonly system: KernelSystem;
  readonly name: string;
  readonly #fd: number;
  #open = true;

  /** Takes `fd` over. */
  constructor(system: KernelSystem, fd: number, name: string) {
    this.system = system;
    this.#fd = fd;
    this.name = name;
  }

  /** Opens a file. @throws KernelError with the advice for its errno */
  static open(system: KernelSystem, path: string, advice: Advice = {}): KernelFile {
    const fd = system.open(path);
    if (fd >= 0) return new KernelFile(system, fd, path);
    throw callFailed('open', -fd, { path }, advice[-fd] ?? OPENING[-fd] ?? '', CODES[-fd]);
  }

  /** The descriptor, which stays this object's. @throws KernelError ERR_KERNEL_CLOSED */
  get fd(): number {
    if (this.#open) return this.#fd;
    throw new KernelError('ERR_KERNEL_CLOSED', `${this.name} has been closed`, Errno.EBADF);
  }

  get closed(): boolean {
    return !this.#open;
  }

  /** An ioctl: what the kernel returned, an errno negated. */
  try(request: number, { argument = 0, pointee, at = 0 }: IoctlArgument = {}): number {
    return this.system.ioctl(this.fd, request, argument, pointee ?? null, at);
  }

  /** The same on another thread. */
  tryLater(request: number, { argument = 0, pointee, at = 0 }: IoctlArgument = {}): Promise<number> {
    return this.system.ioctlLater(this.fd, request, argument, pointee ?? null, at);
  }

  /** An ioctl that must succeed. */
  ioctl(request: number, call: IoctlArgument = {}, advice: Advice = {}): number {
    return this.#passed(request, this.try(request, call), call, advice);
  }

  /** The same on another thread. */
  async ioctlLater(request: number, call: IoctlArgument = {}, advice: Advice = {}): Promise<number> {
    return this.#passed(request, await this.tryLater(request, call), call, advice);
  }

  /** Idempotent. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.system.close(this.#fd);
  }

  #passed(request: number, result: number, { context = {} }: IoctlArgument, advice: Advice): number {
    if (result >= 0) return result;
    const where = { file: this.name, ...context };
    throw callFailed(ioctlName(request), -result, where, advice[-result] ?? '', CODES[-result]);
  }
}

const OPENING: Advice = {
  [Errno.EBUSY]: 'another process uses it: end that first',
  [Errno.EACCES]: 'become root, or give the file to your user',
  [Errno.EPERM]: 'become root, or give the file to your user',
  [Errno.ENOENT]: 'load the module vfio-pci, or the driver of the mediated device; ferry doctor says which',
  [Errno.ENODEV]: 'its driver has let go of it: bind it again',
};

const CODES: Readonly<Partial<Record<number, KernelErrorCode>>> = {
  [Errno.EBUSY]: 'ERR_KERNEL_BUSY',
  [Errno.ENOENT]: 'ERR_KERNEL_NO_DEVICE',
  [Errno.ENODEV]: 'ERR_KERNEL_NO_DEVICE',
  [Errno.ENOTTY]: 'ERR_KERNEL_LACKS',
  [Errno.EOPNOTSUPP]: 'ERR_KERNEL_LACKS',
};
