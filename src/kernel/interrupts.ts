import type { IrqInfo } from '../client/index.ts';
import { Errno } from '../errors/index.ts';
import type { WatchHandle } from '../native/index.ts';
import {
  IrqInfoFlag,
  IrqInfo as IrqInfoLayout,
  IrqSet,
  IrqSetFlag,
  littleEndian,
} from '../protocol/index.ts';
import { callFailed, KernelError, orNull } from './kernel-error.ts';
import type { KernelFile } from './kernel-file.ts';
import { decode, encode } from './uapi/encode.ts';
import { VfioIoctl } from './uapi/ioctls.ts';

/** What SET_IRQS does with vectors. */
export type IrqAction = 'mask' | 'unmask' | 'trigger';

/** For which vectors: all of the range, those that are true, or those that have an eventfd (null takes one away). */
export type IrqData =
  | { readonly count: number }
  | { readonly chosen: readonly boolean[] }
  | { readonly eventfds: readonly (number | null)[] };

const ACTIONS = {
  mask: IrqSetFlag.ACTION_MASK,
  unmask: IrqSetFlag.ACTION_UNMASK,
  trigger: IrqSetFlag.ACTION_TRIGGER,
} as const;
const NO_FD = -1;
/** Vectors of MSI-X, the most that there are (PCI Local Bus 3.0, 6.8.2.3). */
const MAX_VECTORS = 2048;

interface Listening {
  readonly fd: number;
  readonly watch: WatchHandle;
}

/** The interrupts of a device: DEVICE_GET_IRQ_INFO, every form of DEVICE_SET_IRQS, and listeners. */
export class KernelInterrupts {
  readonly #file: KernelFile;
  readonly #listening = new Map<number, readonly Listening[]>();

  constructor(file: KernelFile) {
    this.#file = file;
  }

  /** DEVICE_GET_IRQ_INFO. @throws KernelError EINVAL for an index that there is not */
  info(index: number): IrqInfo {
    const argument = encode(IrqInfoLayout, { argsz: IrqInfoLayout.size, flags: 0, index, count: 0 });
    this.#file.ioctl(VfioIoctl.DEVICE_GET_IRQ_INFO, { argument, context: { index } });
    const { flags, count } = decode(IrqInfoLayout, argument);
    return {
      index,
      count,
      eventfd: (flags & IrqInfoFlag.EVENTFD) !== 0,
      maskable: (flags & IrqInfoFlag.MASKABLE) !== 0,
      autoMasked: (flags & IrqInfoFlag.AUTOMASKED) !== 0,
      noResize: (flags & IrqInfoFlag.NORESIZE) !== 0,
    };
  }

  /** The same; null for an index that the driver does not have. */
  tryInfo(index: number): IrqInfo | null {
    return orNull(() => this.info(index));
  }

  /**
   * DEVICE_SET_IRQS in any of its forms, from vector `start` on. Eventfds stay the caller's; with the action `trigger`
   * they are signalled by the device, with `mask` and `unmask` they do so when signalled. Not every driver takes every
   * form. @throws KernelError
   */
  set(index: number, start: number, action: IrqAction, data: IrqData): void {
    const [kind, count, content] = contentOf(data);
    const argsz = IrqSet.size + content.length;
    const argument = encode(
      IrqSet,
      { argsz, flags: kind | ACTIONS[action], index, start, count },
      content.length,
    );
    argument.set(content, IrqSet.size);
    this.#file.ioctl(VfioIoctl.DEVICE_SET_IRQS, { argument, context: { index, start, count, action } });
  }

  /** Switches an index off: all its eventfds are given up. */
  disable(index: number): void {
    this.set(index, 0, 'trigger', { count: 0 });
    this.#forget(index);
  }

  /**
   * Calls `listener` for each interrupt of the first `count` vectors of an index, in place of what it had before.
   * @throws KernelError
   */
  listen(index: number, count: number, listener: (vector: number, times: number) => void): void {
    this.#forget(index);
    const { system } = this.#file;
    const made: Listening[] = [];
    this.#listening.set(index, made);
    try {
      for (let vector = 0; vector < Math.min(count, MAX_VECTORS); vector += 1) {
        const fd = system.eventfd(0);
        if (fd < 0) throw callFailed('eventfd', -fd, { index, vector });
        const watch = system.watchStart(fd, () => {
          const times = system.eventfdRead(fd);
          if (times > 0) listener(vector, times);
        });
        if (typeof watch === 'number') {
          system.close(fd);
          throw callFailed('epoll', -watch, { index, vector });
        }
        made.push({ fd, watch });
      }
      this.set(index, 0, 'trigger', { eventfds: made.map(({ fd }) => fd) });
    } catch (error) {
      this.#forget(index);
      throw error;
    }
  }

  /** Closes all eventfds that were made here. The device is closed next, or its interrupts are switched off. */
  close(): void {
    for (const index of [...this.#listening.keys()]) this.#forget(index);
  }

  #forget(index: number): void {
    const { system } = this.#file;
    for (const { fd, watch } of this.#listening.get(index) ?? []) {
      system.watchClose(watch);
      system.close(fd);
    }
    this.#listening.delete(index);
  }
}

function contentOf(data: IrqData): [kind: number, count: number, content: Uint8Array] {
  if ('count' in data) return [IrqSetFlag.DATA_NONE, data.count, new Uint8Array(0)];
  if ('chosen' in data) {
    requireVectors(data.chosen.length);
    return [IrqSetFlag.DATA_BOOL, data.chosen.length, Uint8Array.from(data.chosen, Number)];
  }
  const { eventfds } = data;
  requireVectors(eventfds.length);
  const content = new Uint8Array(4 * eventfds.length);
  const view = new DataView(content.buffer);
  eventfds.forEach((fd, i) => {
    view.setInt32(4 * i, fd ?? NO_FD, littleEndian);
  });
  return [IrqSetFlag.DATA_EVENTFD, eventfds.length, content];
}

function requireVectors(count: number): void {
  if (count > 0 && count <= MAX_VECTORS) return;
  const message = `an index has 1 to ${MAX_VECTORS} vectors`;
  throw new KernelError('ERR_KERNEL_ARGUMENT', message, Errno.EINVAL, { count });
}
