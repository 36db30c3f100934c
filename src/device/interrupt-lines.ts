import { Errno, type ErrorContext } from '../errors/index.ts';
import { IrqIndex } from '../protocol/index.ts';
import { DeviceError } from './device-error.ts';
import type { InterruptCounts } from './interrupt-controls.ts';
import { InterruptLine, type Trigger } from './interrupt-line.ts';

/** What the client of a device has set for one interrupt index. */
export interface ClientSide {
  readonly index: number;
  /** It has set triggers, even empty ones. */
  readonly enabled: boolean;
  /** 1 for each vector that it has masked, or that INTx has masked by itself. */
  readonly masked: Uint8Array;
  /** 1 for each vector that waits. */
  readonly pending: Uint8Array;
}

/** The vectors of every interrupt index of a device. */
export class InterruptLines {
  readonly intx: InterruptLine;
  readonly msi: InterruptLine;
  readonly msix: InterruptLine;
  readonly err = new InterruptLine(IrqIndex.ERR, 1);
  readonly req = new InterruptLine(IrqIndex.REQ, 1);
  /** By index. */
  readonly all: readonly InterruptLine[];

  constructor(counts: InterruptCounts) {
    this.intx = new InterruptLine(IrqIndex.INTX, counts.intx);
    this.msi = new InterruptLine(IrqIndex.MSI, counts.msi);
    this.msix = new InterruptLine(IrqIndex.MSIX, counts.msix);
    this.all = [this.intx, this.msi, this.msix, this.err, this.req];
  }

  /** The vectors of an index. Throws DeviceError EINVAL for one that does not exist. */
  of(index: number): InterruptLine {
    const line = this.all[index];
    if (line === undefined) throw noInterrupt(`there is no interrupt index ${index}`, { index });
    return line;
  }

  /** The line of an index that has `count` vectors from `start` on. Throws DeviceError EINVAL when it has not. */
  withRange(index: number, start: number, count: number): InterruptLine {
    const line = this.of(index);
    if (start >= 0 && count >= 0 && start < line.count && start + count <= line.count) return line;
    throw noInterrupt(
      `interrupt index ${index} has ${line.count} vectors, not ${start} to ${start + count - 1}`,
      { index, start, count },
    );
  }

  /** What the client has set for each index that the device has. */
  clientSide(): ClientSide[] {
    return this.all
      .filter(({ count }) => count > 0)
      .map(({ index, enabled, masked, pending }) => ({
        ...{ index, enabled, masked: masked.slice() },
        pending: pending.slice(),
      }));
  }

  /**
   * Takes over what a client has set in another process; of what waits only ERR and REQ, as the rest belongs to the
   * device's state. Throws DeviceError EINVAL when the device has another number of vectors.
   */
  adoptClientSide(side: ClientSide, triggers: readonly (Trigger | null)[]): void {
    const line = this.of(side.index);
    if (side.masked.length !== line.count || triggers.length !== line.count) {
      const context = { index: side.index, vectors: side.masked.length };
      throw noInterrupt(`interrupt index ${side.index} has ${line.count} vectors here`, context);
    }
    line.enabled = side.enabled;
    line.masked.set(side.masked);
    for (const [vector, trigger] of triggers.entries()) line.triggers[vector] = trigger;
    if (line === this.err || line === this.req) line.pending.set(side.pending);
  }

  /** The client has gone: what it gave goes with it, and what waited for nobody else. */
  disconnect(): void {
    for (const line of this.all) line.release();
    this.err.pending.fill(0);
    this.req.pending.fill(0);
  }
}

/** EINVAL: the device has no such interrupt. */
export function noInterrupt(message: string, context: ErrorContext): DeviceError {
  return new DeviceError('ERR_DEVICE_INTERRUPT', message, { errno: Errno.EINVAL, context });
}
