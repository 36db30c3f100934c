import type { SerialBackend } from '../../src/devices/index.ts';

/** The other end of a serial line, in a test's hands. */
export class SerialBench implements SerialBackend {
  /** How many more bytes it takes. */
  room = Number.POSITIVE_INFINITY;
  #sent: number[] = [];
  #waiting = new Uint8Array(0);
  #ready = () => {};

  write(bytes: Uint8Array): number {
    const count = Math.min(bytes.length, this.room);
    this.#sent.push(...bytes.subarray(0, count));
    this.room -= count;
    return count;
  }

  read(target: Uint8Array): number {
    const bytes = this.#waiting.subarray(0, target.length);
    target.set(bytes);
    this.#waiting = this.#waiting.subarray(bytes.length);
    return bytes.length;
  }

  onReady(ready: () => void): void {
    this.#ready = ready;
  }

  /** What the guest has sent. */
  get sent(): readonly number[] {
    return this.#sent;
  }

  /** Forgets what the guest has sent. */
  forget(): void {
    this.#sent = [];
  }

  /** Sends to the guest. */
  send(bytes: ArrayLike<number>): void {
    this.#waiting = Buffer.concat([this.#waiting, Uint8Array.from(bytes)]);
    this.#ready();
  }

  /** Takes `count` more bytes. */
  accept(count: number): void {
    this.room += count;
    this.#ready();
  }

  /** How many bytes the guest has not taken. */
  get waiting(): number {
    return this.#waiting.length;
  }
}
