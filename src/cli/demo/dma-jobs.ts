import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import type { DeviceClient } from '../../client/index.ts';
import { MemoryCommand, MemoryRegister as Reg, MemoryStatus as Status } from '../../devices/index.ts';
import { RegionIndex } from '../../protocol/index.ts';
import type { Guest } from './guest.ts';

const { BAR0 } = RegionIndex;
/** The vector that the device raises at the end of a job. */
export const JOB_VECTOR = 0;
const WORD = 1n << 32n;
/** A device that has not finished by then has lost the job or its interrupt, in milliseconds. */
const JOB_LIMIT_MS = 5_000;
/** Between two jobs, in milliseconds: a guest does other things too. */
const PAUSE_MS = 2;

interface Job {
  readonly expected: number;
  /** The guest's moves when the job began. */
  readonly moves: number;
  /** Settles at the job's interrupt with the guest's moves then; null when it does not come. */
  readonly done: Promise<number | null>;
}

/** Checksums of guest memory by DMA, one after the other, each compared with zlib's. */
export class DmaJobs {
  readonly #guest: Guest;
  #stopped = false;
  #job: Job | null = null;
  #finish: (() => void) | null = null;
  /** Jobs that the device was given. */
  started = 0;
  /** Jobs whose result was wrong, or did not come. */
  wrong = 0;
  /** Jobs that began at one server and ended at another. */
  moved = 0;

  constructor(guest: Guest) {
    this.#guest = guest;
    guest.onInterrupt((vector) => {
      if (vector === JOB_VECTOR) this.#finish?.();
    });
  }

  /** Runs jobs until {@link stop}. */
  async run(): Promise<void> {
    while (!this.#stopped) {
      if (this.#job === null) await this.#guest.access(({ client }) => this.#start(client));
      await this.#complete();
      await sleep(PAUSE_MS);
    }
  }

  stop(): void {
    this.#stopped = true;
  }

  /** The last thing that a guest does before it is stopped: the device is to be moved with a job in progress. */
  async startLast(): Promise<void> {
    const { client } = this.#guest.attachment;
    if (this.#job !== null) await this.#finishJob(client, this.#job, await this.#job.done);
    await this.#start(client);
  }

  async #start(client: DeviceClient): Promise<void> {
    if (this.#job !== null) return;
    const { iova, bytes } = this.#fillMemory();
    const done = new Promise<number | null>((resolve) => {
      const timer = setTimeout(() => resolve(null), JOB_LIMIT_MS);
      this.#finish = () => {
        clearTimeout(timer);
        resolve(this.#guest.moves);
      };
    });
    this.#job = { expected: crc32(bytes), moves: this.#guest.moves, done };
    this.started += 1;
    await client.writeU32(BAR0, Reg.VECTOR, JOB_VECTOR);
    await client.writeU32(BAR0, Reg.DMA_ADDRESS_LOW, Number(iova % WORD));
    await client.writeU32(BAR0, Reg.DMA_ADDRESS_HIGH, Number(iova / WORD));
    await client.writeU32(BAR0, Reg.DMA_LENGTH, bytes.length);
    await client.writeU32(BAR0, Reg.COMMAND, MemoryCommand.CHECKSUM);
  }

  async #complete(): Promise<void> {
    const job = this.#job;
    if (job === null) return;
    const movesAtEnd = await job.done;
    await this.#guest.access(({ client }) => this.#finishJob(client, job, movesAtEnd));
  }

  /** Looks at the result, unless that has been done. */
  async #finishJob(client: DeviceClient, job: Job, movesAtEnd: number | null): Promise<void> {
    if (this.#job !== job) return;
    const status = await client.readU32(BAR0, Reg.STATUS);
    const result = await client.readU32(BAR0, Reg.RESULT);
    if (movesAtEnd === null || status !== Status.DONE || result !== job.expected) this.wrong += 1;
    if (movesAtEnd !== null && movesAtEnd !== job.moves) this.moved += 1;
    await client.writeU32(BAR0, Reg.STATUS, Status.DONE | Status.FAILED);
    this.#job = null;
  }

  /** Changes all of guest memory a little, and takes the end of the first region and all of the second. */
  #fillMemory(): { readonly iova: bigint; readonly bytes: Uint8Array } {
    const [mapped, message] = this.#guest.regions;
    if (mapped === undefined || message === undefined) throw new Error('the guest has no memory');
    for (const { bytes } of this.#guest.regions) {
      for (let i = 0; i < 64; i += 1) bytes[Math.floor(Math.random() * bytes.length)] = Math.random() * 256;
    }
    const from = Math.floor(Math.random() * mapped.bytes.length);
    const bytes = Buffer.concat([mapped.bytes.subarray(from), message.bytes]);
    return { iova: mapped.iova + BigInt(from), bytes };
  }
}
