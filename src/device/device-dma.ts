import { Errno } from '../errors/index.ts';
import type { AddressSpace } from '../memory/index.ts';
import { DeviceError } from './device-error.ts';

/** Who says whether a DMA operation may start. */
export interface DmaGate {
  /** Throws DeviceError when the device may not start DMA now. */
  check(iova: bigint, length: number): void;
}

/**
 * A device's way to guest memory. Every operation is refused with DeviceError (ERR_DEVICE_QUIESCED, EBUSY) unless the
 * device may initiate DMA: do what needs DMA in `work`, which runs only then. Whatever memory refuses (unmapped,
 * protected) is its DmaError.
 */
export class DeviceDma {
  readonly #memory: AddressSpace;
  readonly #gate: DmaGate;
  readonly #abandon = new Set<(reason: DeviceError) => void>();
  readonly #waiting: (() => void)[] = [];
  #outstanding = 0;

  constructor(memory: AddressSpace, gate: DmaGate) {
    this.#memory = memory;
    this.#gate = gate;
  }

  /** Reads `length` bytes of guest memory at `iova`, mapped or not. */
  read(iova: bigint, length: number): Promise<Uint8Array> {
    return this.#follow(iova, length, async () => {
      // A guest may name any length: what it has not mapped is refused before memory is allocated.
      this.#memory.reach(iova, length, 'read');
      const target = new Uint8Array(length);
      await this.#memory.read(iova, target);
      return target;
    });
  }

  /** Writes `data` to guest memory at `iova`, mapped or not. `data` must not change until the promise settles. */
  write(iova: bigint, data: Uint8Array): Promise<void> {
    return this.#follow(iova, data.length, () => this.#memory.write(iova, data));
  }

  /** Fills `target` from guest memory at `iova`. Throws DmaError where the memory is not mapped into this process. */
  readSync(iova: bigint, target: Uint8Array): void {
    this.#gate.check(iova, target.length);
    this.#memory.readSync(iova, target);
  }

  /** Writes `data` to guest memory at `iova`. Throws DmaError where the memory is not mapped into this process. */
  writeSync(iova: bigint, data: Uint8Array): void {
    this.#gate.check(iova, data.length);
    this.#memory.writeSync(iova, data);
  }

  /**
   * The guest's memory itself, without a copy, or null where no one mapping that may be read and written covers it.
   * Use it at once: the next message may unmap it. After writing into it call {@link markDirty}.
   */
  view(iova: bigint, length: number): Uint8Array | null {
    this.#gate.check(iova, length);
    return this.#memory.view(iova, length);
  }

  /** Says that `length` bytes at `iova` were written through a {@link view}. */
  markDirty(iova: bigint, length: number): void {
    this.#memory.markDirty(iova, length);
  }

  /** Operations that are not complete. */
  get outstanding(): number {
    return this.#outstanding;
  }

  /** Settles when nothing is outstanding. */
  async idle(): Promise<void> {
    while (this.#outstanding > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Rejects the promises of everything outstanding. The operations themselves go on and still count. */
  abandon(): void {
    const reason = new DeviceError(
      'ERR_DEVICE_QUIESCED',
      'a reset of the device abandoned this DMA operation',
      {
        errno: Errno.ECANCELED,
      },
    );
    for (const reject of this.#abandon) reject(reason);
    this.#abandon.clear();
  }

  #follow<T>(iova: bigint, length: number, start: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#gate.check(iova, length);
      const operation = start();
      this.#outstanding++;
      this.#abandon.add(reject);
      const done = () => {
        this.#outstanding--;
        this.#abandon.delete(reject);
        if (this.#outstanding === 0) for (const wake of this.#waiting.splice(0)) wake();
      };
      // The author's continuation first: what it does belongs to the operation.
      operation.then(resolve, reject).then(done);
    });
  }
}
