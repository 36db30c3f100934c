import { type IrqIndex, IrqInfoFlag } from '../protocol/index.ts';
import type { InterruptControls, InterruptCounts } from './interrupt-controls.ts';
import type { InterruptLine, IrqDescription, Trigger } from './interrupt-line.ts';
import { type ClientSide, InterruptLines, noInterrupt } from './interrupt-lines.ts';
import { type IrqMaskChange, MASKABLE_KINDS } from './irq-mask.ts';

/** What an interrupt is delivered as. */
export type InterruptMode = 'intx' | 'msi' | 'msix' | 'none';

/**
 * Decides which interrupt is signalled when. Pure: it calls triggers and does nothing else.
 *
 * INTx level and pending vectors are the device's and migrate; triggers and SET_IRQS masks belong to the main
 * connection. A vector that can't be signalled (no trigger, masked, on hold) stays pending, and is signalled once
 * when the last obstacle goes. That also carries an interrupt over a migration: the new client's triggers deliver it.
 */
export class InterruptController {
  readonly #controls: InterruptControls;
  readonly #maskChanged: (change: IrqMaskChange) => void;
  readonly #lines: InterruptLines;
  #level = false;
  #held = false;

  /** `maskChanged` is told what the client masks and unmasks, after that. */
  constructor(
    counts: InterruptCounts,
    controls: InterruptControls,
    maskChanged: (change: IrqMaskChange) => void = () => {},
  ) {
    this.#controls = controls;
    this.#maskChanged = maskChanged;
    this.#lines = new InterruptLines(counts);
  }

  /** Whether INTx is asserted. */
  get level(): boolean {
    return this.#level;
  }

  /** Whether INTx has been signalled, and the client has not said that it has served it. */
  get intxOutstanding(): boolean {
    return this.#lines.intx.masked[0] === 1;
  }

  /** Whether delivery is on hold. */
  get held(): boolean {
    return this.#held;
  }

  /**
   * What an interrupt is delivered as now. The control words decide; a client that assigns triggers without writing
   * them (it emulates the capability itself) has enabled the kind as well.
   */
  get mode(): InterruptMode {
    if (this.#controls.msixEnabled || this.#lines.msix.enabled) return 'msix';
    if (this.#controls.msiEnabled || this.#lines.msi.enabled) return 'msi';
    return this.#lines.intx.count > 0 ? 'intx' : 'none';
  }

  // ---- the server's side: what the main connection owns

  /** GET_IRQ_INFO. Throws DeviceError EINVAL for an index that does not exist. */
  info(index: number): IrqDescription {
    const { count, flags } = this.#lines.of(index);
    return { count, flags };
  }

  /**
   * SET_IRQS with eventfds: gives the vectors from `start` their triggers; null leaves a vector enabled without one.
   * What waits for a trigger is signalled at once. Throws DeviceError EINVAL when the range does not fit.
   */
  setTriggers(index: number, start: number, triggers: readonly (Trigger | null)[]): void {
    const line = this.#lines.withRange(index, start, triggers.length);
    for (const [i, trigger] of triggers.entries()) line.triggers[start + i] = trigger;
    line.enabled = true;
    this.update();
  }

  /** SET_IRQS with no data, TRIGGER and count 0: drops the index's triggers and masks. What is pending stays. */
  disable(index: number): void {
    this.#lines.of(index).release();
    this.update();
  }

  /** SET_IRQS MASK. Throws DeviceError EINVAL for a range that does not fit or an index that is not MASKABLE. */
  mask(index: number, start: number, count: number): void {
    this.#setMask(index, start, count, true);
  }

  /** SET_IRQS UNMASK; what is pending, or INTx while it is asserted, is signalled at once. Throws as {@link mask}. */
  unmask(index: number, start: number, count: number): void {
    this.#setMask(index, start, count, false);
    this.update();
  }

  /** SET_IRQS TRIGGER without eventfds: signals a vector to the client that asks, whatever the device's state is. */
  loopback(index: number, vector: number): void {
    this.#lines.withRange(index, vector, 1).triggers[vector]?.();
  }

  /** What the client has set for each index that the device has, and what of ERR and REQ waits, for another process. */
  clientSide(): ClientSide[] {
    return this.#lines.clientSide();
  }

  /**
   * Goes on with what a client has set in another process; what wasn't signalled there is signalled when interrupts are
   * no longer held. The pending bits of INTx, MSI and MSI-X belong to the state, and are not touched.
   * Throws DeviceError EINVAL when the device has another number of vectors.
   */
  adoptClientSide(side: ClientSide, triggers: readonly (Trigger | null)[]): void {
    this.#lines.adoptClientSide(side, triggers);
  }

  /** The main connection is gone: triggers and masks go, level and pending vectors stay. */
  disconnect(): void {
    this.#lines.disconnect();
  }

  /** From now on interrupts stay pending. */
  hold(): void {
    this.#held = true;
  }

  /** Signals what was raised during the hold: each vector once, INTx if it is still asserted. */
  release(): void {
    this.#held = false;
    this.update();
  }

  /**
   * Every vector of MSI or MSI-X with a trigger counts as raised: a client that has taken the place of another may lack
   * the last signals of that one. To be called while interrupts are held. INTx needs none of that, being a level.
   */
  raiseAgain(): void {
    for (const line of [this.#lines.msi, this.#lines.msix]) {
      for (let vector = 0; vector < line.count; vector++) if (line.triggers[vector]) line.pending[vector] = 1;
    }
  }

  // ---- the device's side

  /**
   * Raises an interrupt: MSI-X if enabled, else MSI, else INTx, which stays asserted until {@link lower}. Vectors
   * beyond those that the driver allocated fold onto them. Throws DeviceError EINVAL for a vector that no kind has.
   */
  raise(vector: number): void {
    if (
      vector >= Math.max(this.#lines.msix.count, this.#lines.msi.count, this.#lines.intx.count) ||
      !(vector >= 0)
    ) {
      throw noInterrupt(`the device has no interrupt vector ${vector}`, { vector });
    }
    const mode = this.mode;
    if (mode === 'intx') this.#setLevel(true);
    else if (mode === 'msi' || this.#lines.msix.count === 0)
      this.#send(this.#lines.msi, vector % this.#msiAllocated());
    else this.#send(this.#lines.msix, vector % this.#lines.msix.count);
  }

  /** Deasserts INTx. */
  lower(): void {
    this.#setLevel(false);
  }

  /** Signals an event of the ERR or REQ index. */
  notify(index: typeof IrqIndex.ERR | typeof IrqIndex.REQ): void {
    this.#send(this.#lines.of(index), 0);
  }

  /** The configuration space or the MSI-X table has changed, or the device runs again: signals what can be now. */
  update(): void {
    const mode = this.mode;
    for (const line of this.#lines.all) {
      if (line === this.#lines.intx) this.#deliverLevel();
      else if (line === this.#lines.msi && mode !== 'msi') continue;
      else if (line === this.#lines.msix && mode !== 'msix') continue;
      else for (let vector = 0; vector < line.count; vector++) this.#deliver(line, vector);
    }
  }

  /** Device reset: nothing is asserted or pending. Triggers and masks are not the device's and stay. */
  reset(): void {
    for (const line of this.#lines.all) line.pending.fill(0);
    this.#setLevel(false);
  }

  /** Eight vectors of the pending bits of MSI or MSI-X, as the PBA shows them: vector `8 * byte` is bit 0. */
  pendingByte(index: typeof IrqIndex.MSI | typeof IrqIndex.MSIX, byte: number): number {
    return this.#lines.of(index).pendingByte(byte);
  }

  /** The vectors of MSI or MSI-X that wait, ascending. */
  pendingVectors(index: typeof IrqIndex.MSI | typeof IrqIndex.MSIX): number[] {
    return this.#lines.of(index).pendingVectors();
  }

  /** Takes over level and pending bits from a migrated state. Nothing is signalled before {@link update}. */
  restore(level: boolean, msi: Uint8Array, msix: Uint8Array): void {
    this.#lines.msi.restorePending(msi);
    this.#lines.msix.restorePending(msix);
    this.#level = level;
    this.#controls.levelChanged(level);
  }

  #setLevel(asserted: boolean): void {
    if (this.#level !== asserted) {
      this.#level = asserted;
      this.#controls.levelChanged(asserted);
    }
    if (asserted) this.#deliverLevel();
  }

  /** Signals INTx while it is asserted, and masks it until the client says that it has served it. */
  #deliverLevel(): void {
    const trigger = this.#lines.intx.triggers[0];
    if (!this.#level || this.#held || !trigger) return;
    if (this.#lines.intx.masked[0] === 1 || this.#controls.intxDisabled || this.mode !== 'intx') return;
    this.#lines.intx.masked[0] = 1;
    trigger();
  }

  #send(line: InterruptLine, vector: number): void {
    line.pending[vector] = 1;
    this.#deliver(line, vector);
  }

  #deliver(line: InterruptLine, vector: number): void {
    const trigger = line.triggers[vector];
    if (line.pending[vector] !== 1 || this.#held || !trigger || line.masked[vector] === 1) return;
    if (line === this.#lines.msix && (this.#controls.msixFunctionMasked || this.#controls.msixMasked(vector)))
      return;
    if (line === this.#lines.msi && this.#controls.msiMasked(vector)) return;
    line.pending[vector] = 0;
    trigger();
  }

  #msiAllocated(): number {
    return this.#controls.msiEnabled
      ? Math.min(this.#controls.msiAllocated, this.#lines.msi.count)
      : this.#lines.msi.count;
  }

  #setMask(index: number, start: number, count: number, masked: boolean): void {
    const line = this.#lines.withRange(index, start, count);
    const kind = MASKABLE_KINDS.get(index);
    if (kind === undefined || (line.flags & IrqInfoFlag.MASKABLE) === 0) {
      throw noInterrupt(`interrupt index ${index} can't be masked`, { index });
    }
    line.masked.fill(masked ? 1 : 0, start, start + count);
    this.#maskChanged({ kind, start, count, masked });
  }
}
