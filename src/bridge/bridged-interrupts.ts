import type { IrqInfo } from '../client/index.ts';
import type { InterruptPassage } from '../device/index.ts';
import type { KernelDevice } from '../kernel/index.ts';
import { IrqInfoFlag } from '../protocol/index.ts';

/** Interrupts that go from the kernel to the eventfds of a client, with nobody in between. */
export class BridgedInterrupts implements InterruptPassage {
  readonly #device: KernelDevice;
  /** Which indices a client has switched on. */
  readonly #enabled = new Set<number>();

  constructor(device: KernelDevice) {
    this.#device = device;
  }

  info(index: number): { readonly count: number; readonly flags: number } {
    const info = this.#device.interrupts.tryInfo(index);
    return info === null ? { count: 0, flags: 0 } : { count: info.count, flags: flagsOf(info) };
  }

  assign(index: number, start: number, eventfds: readonly (number | null)[]): void {
    this.#device.interrupts.set(index, start, 'trigger', { eventfds });
    this.#enabled.add(index);
  }

  disable(index: number): void {
    if (!this.#enabled.has(index)) return;
    this.#device.interrupts.disable(index);
    this.#enabled.delete(index);
  }

  act(action: 'mask' | 'unmask' | 'trigger', index: number, start: number, chosen: readonly boolean[]): void {
    const all = chosen.every(Boolean);
    this.#device.interrupts.set(index, start, action, all ? { count: chosen.length } : { chosen });
  }

  /** Takes all eventfds back: their client is gone. */
  disableAll(): void {
    for (const index of [...this.#enabled]) this.disable(index);
  }
}

function flagsOf({ eventfd, maskable, autoMasked, noResize }: IrqInfo): number {
  return (
    (eventfd ? IrqInfoFlag.EVENTFD : 0) |
    (maskable ? IrqInfoFlag.MASKABLE : 0) |
    (autoMasked ? IrqInfoFlag.AUTOMASKED : 0) |
    (noResize ? IrqInfoFlag.NORESIZE : 0)
  );
}
