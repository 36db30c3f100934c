import { describePages, type NvmeDriver, type QueuePair, type Submission, settled } from './driver.ts';

interface Operation {
  readonly kind: 'read' | 'write' | 'zero';
  readonly first: number;
  readonly count: number;
  /** What is written, or what is expected. */
  readonly data: Uint8Array;
  /** Where the data is, in order. */
  readonly pages: readonly bigint[];
  readonly offset: number;
}

interface Slot {
  readonly pair: QueuePair;
  readonly buffer: bigint;
  readonly list: bigint;
}

/** Pages of data of one command. */
const PAGES = 6;

/**
 * Random reads, writes and zeros over several queues, and a model that knows what each block holds. Commands in
 * progress at the same time never touch the same blocks, so that every read has exactly one right answer.
 */
export class RandomIo {
  completed = 0;
  readonly #driver: NvmeDriver;
  readonly #pairs: readonly QueuePair[];
  readonly #model: Uint8Array;
  readonly #blocks: number;
  readonly #free: Slot[] = [];
  readonly #slots = new Map<string, Slot>();
  readonly #operations = new Map<string, Operation>();
  #seed: number;
  #id = 0;

  private constructor(driver: NvmeDriver, pairs: readonly QueuePair[], blocks: number, seed: number) {
    this.#driver = driver;
    this.#pairs = pairs;
    this.#blocks = blocks;
    this.#seed = seed;
    this.#model = new Uint8Array(blocks * 512);
    for (const pair of pairs) {
      for (let i = 0; i < 12; i++) {
        const buffer = driver.guest.allocate(PAGES * 4096);
        this.#free.push({ pair, buffer, list: driver.guest.allocate(4096) });
      }
    }
  }

  static async start(
    driver: NvmeDriver,
    options: { pairs: number; blocks: number; seed: number },
  ): Promise<RandomIo> {
    const pairs: QueuePair[] = [];
    for (let id = 1; id <= options.pairs; id++) pairs.push(await driver.createPair(id, 5 + 4 * id));
    return new RandomIo(driver, pairs, options.blocks, options.seed);
  }

  /** Some turns of submitting and reaping. */
  async turns(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      this.submit();
      await settled();
      this.reap();
    }
  }

  /** Submits a few commands. */
  submit(): void {
    const rung = new Set<QueuePair>();
    for (let i = this.#random(8); i >= 0; i--) {
      const slot = this.#free[this.#random(Math.max(1, this.#free.length))];
      if (slot === undefined || this.#used(slot.pair) + 2 > slot.pair.entries) continue;
      const operation = this.#invent(slot);
      if (operation === null) continue;
      this.#free.splice(this.#free.indexOf(slot), 1);
      this.#put(slot, operation);
      rung.add(slot.pair);
    }
    for (const pair of rung) pair.ring();
  }

  /** Takes completions and checks each of them. */
  reap(): void {
    for (const pair of this.#pairs) {
      if (this.#random(4) === 0) continue;
      for (const { id, queue, status } of pair.reap()) {
        const key = `${pair.id}:${id}`;
        const operation = this.#operations.get(key);
        const slot = this.#slots.get(key);
        if (operation === undefined || slot === undefined) throw new Error(`command ${key} completed twice`);
        if (queue !== pair.id || status !== 0) throw new Error(`command ${key} ended with ${status}`);
        this.#operations.delete(key);
        this.#slots.delete(key);
        this.#free.push(slot);
        this.#check(operation);
        this.completed++;
      }
    }
  }

  /** Waits for everything, and reads all blocks once more. */
  async finish(): Promise<void> {
    await this.#driver.until(() => {
      this.reap();
      return this.#operations.size === 0;
    }, 'the last completions');
    const [pair] = this.#pairs;
    if (pair === undefined) return;
    const buffer = this.#driver.guest.allocate(4096);
    for (let first = 0; first < this.#blocks; first += 8) {
      const { status } = await this.#driver.on(pair, { ...read(first, 8), prp1: buffer });
      if (status !== 0) throw new Error(`block ${first} can't be read: ${status}`);
      const wanted = this.#model.subarray(first * 512, (first + 8) * 512);
      if (Buffer.compare(this.#driver.guest.at(buffer, 4096), wanted) !== 0)
        throw new Error(`block ${first} or one of the next 7 is wrong`);
    }
  }

  #used(pair: QueuePair): number {
    return [...this.#slots.values()].filter((slot) => slot.pair === pair).length;
  }

  #invent(slot: Slot): Operation | null {
    const offset = this.#random(8) * 512;
    const count = 1 + this.#random((PAGES * 4096 - offset) / 512);
    const first = this.#random(this.#blocks - count);
    for (const other of this.#operations.values())
      if (first < other.first + other.count && other.first < first + count) return null;
    const kind = (['read', 'write', 'write', 'zero'] as const)[this.#random(4)] ?? 'read';
    const bytes = count * 512;
    const stored = this.#model.slice(first * 512, first * 512 + bytes);
    const fresh = Uint8Array.from({ length: kind === 'write' ? bytes : 0 }, () => this.#random(256));
    const data = { read: stored, write: fresh, zero: new Uint8Array(bytes) }[kind];
    const pages = Array.from(
      { length: Math.ceil((offset + bytes) / 4096) },
      (_, i) => slot.buffer + BigInt(i * 4096),
    );
    if (this.#random(2) === 0) pages.reverse();
    return { kind, first, count, data, pages, offset };
  }

  #put(slot: Slot, operation: Operation): void {
    const { kind, first, count, data, pages, offset } = operation;
    this.#scatter(operation, (bytes, from) => {
      if (kind === 'write') bytes.set(data.subarray(from, from + bytes.length));
      else bytes.fill(0xcc);
    });
    if (kind !== 'read') this.#model.set(data, first * 512);
    const list = { allocate: () => slot.list, view: this.#driver.guest.view.bind(this.#driver.guest) };
    const start = (pages[0] ?? 0n) + BigInt(offset);
    const [prp1, prp2] = describePages(list, [start, ...pages.slice(1)], this.#random(64) * 8);
    const opcode = { read: 0x02, write: 0x01, zero: 0x08 }[kind];
    const id = this.#id++ & 0xffff;
    slot.pair.put({ ...read(first, count), opcode, prp1, prp2 }, id);
    this.#operations.set(`${slot.pair.id}:${id}`, operation);
    this.#slots.set(`${slot.pair.id}:${id}`, slot);
  }

  #check(operation: Operation): void {
    if (operation.kind !== 'read') return;
    this.#scatter(operation, (bytes, from) => {
      if (Buffer.compare(bytes, operation.data.subarray(from, from + bytes.length)) !== 0)
        throw new Error(`the data of block ${operation.first} and following is wrong`);
    });
  }

  /** Calls `visit` for the part of the data that is in each page. */
  #scatter({ pages, offset, data }: Operation, visit: (bytes: Uint8Array, from: number) => void): void {
    let from = 0;
    for (const [i, page] of pages.entries()) {
      const start = i === 0 ? offset : 0;
      const length = Math.min(4096 - start, data.length - from);
      visit(this.#driver.guest.at(page + BigInt(start), length), from);
      from += length;
    }
  }

  #random(below: number): number {
    this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#seed / 2 ** 32) * below);
  }
}

function read(first: number, count: number): Submission {
  return { opcode: 0x02, namespace: 1, dwords: [first, 0, count - 1] };
}
