import { setTimeout as sleep } from 'node:timers/promises';
import { MEMORY_VECTORS, MemoryRegister as Reg } from '../../devices/index.ts';
import { RegionIndex } from '../../protocol/index.ts';
import type { Guest } from './guest.ts';
import type { Image } from './image.ts';

const { BAR0, BAR2 } = RegionIndex;
/** Largest write, in bytes. */
const MAPPED_WRITE = 4096;
const MESSAGE_WRITE = 1024;
/** Writes between two pauses of a millisecond: about 60 MiB and 4 MiB per second. */
const MAPPED_BURST = 32;
const MESSAGE_BURST = 8;
/** Doorbells ring vectors from 1 on; 0 belongs to the DMA jobs. */
const FIRST_DOORBELL = 1;

/** A guest that never stops: it writes the device's memory, rings doorbells and watches the clock. */
export class Load {
  readonly #guest: Guest;
  readonly #image: Image;
  #stopped = false;
  #turn = 0;
  /** Writes through the mapping, and by messages. */
  mappedWrites = 0;
  messageWrites = 0;
  /** Doorbells rung, by vector. */
  readonly rung: number[] = Array.from({ length: MEMORY_VECTORS }, () => 0);
  /** How often the clock was read, how often it had gone back, and what it read last. */
  clockReads = 0;
  clockJumps = 0;
  clock = 0;

  constructor(guest: Guest, image: Image) {
    this.#guest = guest;
    this.#image = image;
  }

  /** Runs until {@link stop}. */
  async run(): Promise<void> {
    await Promise.all([
      this.#repeat(() => this.#writeMapping()),
      this.#repeat(() => this.#writeMessages()),
      this.#repeat(() => this.#readClock()),
    ]);
  }

  stop(): void {
    this.#stopped = true;
  }

  async #repeat(step: () => Promise<void>): Promise<void> {
    while (!this.#stopped) {
      await step();
      await sleep(1);
    }
  }

  #writeMapping(): Promise<void> {
    return this.#guest.access(async ({ mapped }) => {
      for (let i = 0; i < MAPPED_BURST; i += 1) {
        const { offset, data } = this.#image.write('mapping', MAPPED_WRITE);
        mapped.set(data, offset);
        this.mappedWrites += 1;
      }
    });
  }

  #writeMessages(): Promise<void> {
    return this.#guest.access(async ({ client }) => {
      for (let i = 0; i < MESSAGE_BURST; i += 1) {
        this.#turn += 1;
        const { offset, data } = this.#image.write('messages', MESSAGE_WRITE);
        await client.write(BAR2, offset, data, { posted: this.#turn % 2 === 0 });
        this.messageWrites += 1;
      }
      const vector = FIRST_DOORBELL + (this.#turn % (MEMORY_VECTORS - FIRST_DOORBELL));
      await client.writeU32(BAR0, Reg.DOORBELL, vector);
      this.rung[vector] = (this.rung[vector] ?? 0) + 1;
    });
  }

  #readClock(): Promise<void> {
    return this.#guest.access(async ({ client }) => {
      const now = await client.readU32(BAR0, Reg.TICKS);
      if (now < this.clock) this.clockJumps += 1;
      this.clock = now;
      this.clockReads += 1;
    });
  }
}
