import type { NamespaceBackend } from '../../../src/devices/index.ts';

/** A disk that several servers know, and one at a time may use. Operations take a random number of turns. */
export class SharedDisk {
  readonly bytes: Uint8Array;
  #owner: NamespaceBackend | null = null;
  #seed = 99;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
  }

  /** The disk as one server has it. */
  open(): NamespaceBackend {
    const { bytes } = this;
    const backend: NamespaceBackend = {
      blocks: bytes.length / 512,
      blockSize: 512,
      synchronous: false,
      volatileCache: true,
      read: (offset, target) =>
        this.#use(backend, () => target.set(bytes.subarray(offset, offset + target.length))),
      write: (offset, data) => this.#use(backend, () => bytes.set(data, offset)),
      zero: (offset, length) => this.#use(backend, () => bytes.fill(0, offset, offset + length)),
      flush: () => this.#use(backend, () => {}),
      quiesce: async () => {
        if (this.#owner === backend) await this.#use(backend, () => {});
        if (this.#owner === backend) this.#owner = null;
      },
      resume: async () => {
        await this.#delay();
        if (this.#owner !== null && this.#owner !== backend) throw new Error('the disk is in use elsewhere');
        this.#owner = backend;
      },
    };
    return backend;
  }

  async #use(user: NamespaceBackend, act: () => void): Promise<void> {
    await this.#delay();
    if (this.#owner !== user) throw new Error('the disk is used by a server that does not have it');
    act();
  }

  async #delay(): Promise<void> {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
    for (let i = this.#seed >>> 29; i > 0; i--) await new Promise((resolve) => setImmediate(resolve));
  }
}
