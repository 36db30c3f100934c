import type { NvmeDevice } from '../../../src/devices/index.ts';

const EVERY_MS = 20;

/**
 * Looks at the completion queues of an nvme as the device keeps them: a guest that was not told of entries does not
 * take them.
 */
export class QueueWatch {
  /** The longest time that a queue had entries and its guest took none, in milliseconds. */
  longestMs = 0;
  readonly #device: NvmeDevice;
  readonly #timer: NodeJS.Timeout;
  /** For each queue: its head when it was last seen to move, and when that was. */
  readonly #seen: { head: number; since: number }[] = [];

  constructor(device: NvmeDevice) {
    this.#device = device;
    this.#timer = setInterval(() => this.#look(), EVERY_MS);
  }

  end(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const { completionSize, completionHead, completionTail } = this.#device.state;
    const now = performance.now();
    for (let id = 0; id < completionSize.length; id += 1) {
      const head = completionHead[id] ?? 0;
      const before = this.#seen[id];
      const waits = completionSize[id] !== 0 && head !== completionTail[id];
      if (waits && before?.head === head) this.longestMs = Math.max(this.longestMs, now - before.since);
      else this.#seen[id] = { head, since: now };
    }
  }
}
