import type { NamespaceBackend } from '../../../src/devices/index.ts';

type Operation = 'read' | 'write' | 'zero' | 'discard' | 'flush' | 'quiesce' | 'resume';

interface Pending {
  readonly operation: Operation;
  readonly act: () => void;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Storage whose operations end when the test says so. */
export class ManualNamespace implements NamespaceBackend {
  readonly blockSize: 512 | 4096;
  readonly blocks: number;
  readonly synchronous = false;
  readonly volatileCache = true;
  /** What is stored, and what of it was durable at the last flush. */
  readonly bytes: Uint8Array;
  durable: Uint8Array;
  readonly pending: Pending[] = [];
  /** How often each operation was begun. */
  readonly begun = new Map<Operation, number>();
  readonly #manual: ReadonlySet<Operation>;

  /** `manual`: the operations that wait for {@link finish}; by default all of them. */
  constructor({ manual, blockSize = 512 }: { manual?: readonly Operation[]; blockSize?: 512 | 4096 } = {}) {
    this.blockSize = blockSize;
    this.bytes = new Uint8Array(1024 * 1024);
    this.blocks = this.bytes.length / blockSize;
    this.durable = this.bytes.slice();
    this.#manual = new Set(manual ?? ['read', 'write', 'zero', 'discard', 'flush', 'quiesce', 'resume']);
  }

  read(offset: number, target: Uint8Array): Promise<void> {
    return this.#begin('read', () => target.set(this.bytes.subarray(offset, offset + target.length)));
  }

  write(offset: number, data: Uint8Array): Promise<void> {
    return this.#begin('write', () => this.bytes.set(data, offset));
  }

  zero(offset: number, length: number): Promise<void> {
    return this.#begin('zero', () => this.bytes.fill(0, offset, offset + length));
  }

  discard(offset: number, length: number): Promise<void> {
    return this.#begin('discard', () => this.bytes.fill(0, offset, offset + length));
  }

  flush(): Promise<void> {
    return this.#begin('flush', () => {
      this.durable = this.bytes.slice();
    });
  }

  quiesce(): Promise<void> {
    return this.#begin('quiesce', () => {});
  }

  resume(): Promise<void> {
    return this.#begin('resume', () => {});
  }

  /** Ends everything that waits, or all operations of a kind. */
  finish(operation?: Operation): void {
    for (const one of this.#take(operation)) {
      one.act();
      one.resolve();
    }
  }

  /** Fails what waits. */
  refuse(operation?: Operation): void {
    for (const one of this.#take(operation)) one.reject(new Error('the storage has failed'));
  }

  #take(operation?: Operation): Pending[] {
    const taken = this.pending.filter((one) => operation === undefined || one.operation === operation);
    for (const one of taken) this.pending.splice(this.pending.indexOf(one), 1);
    return taken;
  }

  #begin(operation: Operation, act: () => void): Promise<void> {
    this.begun.set(operation, (this.begun.get(operation) ?? 0) + 1);
    return new Promise((resolve, reject) => {
      this.pending.push({ operation, act, resolve, reject });
      if (!this.#manual.has(operation)) this.finish(operation);
    });
  }
}
