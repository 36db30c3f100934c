import type { Region, ServedDevice } from '../../../src/device/index.ts';
import { RegionIndex } from '../../../src/protocol/index.ts';
import { peek, poke } from '../../helpers/fake-host.ts';
import type { Guest } from './guest.ts';

/** What a driver puts into a submission queue; what is left out is 0. */
export interface Submission {
  readonly opcode: number;
  readonly flags?: number;
  readonly namespace?: number;
  readonly prp1?: bigint;
  readonly prp2?: bigint;
  readonly dwords?: readonly number[];
}

/** What a driver finds in a completion queue. */
export interface Completion {
  readonly id: number;
  readonly queue: number;
  readonly head: number;
  /** Code type and code, without More and Do Not Retry. */
  readonly status: number;
  readonly retry: boolean;
  readonly result: number;
}

/** A queue pair as a driver sees it. */
export class QueuePair {
  readonly id: number;
  readonly entries: number;
  readonly submission: bigint;
  readonly completion: bigint;
  /** What the driver will write next, and has read. */
  tail = 0;
  head = 0;
  phase = 1;
  readonly #guest: Guest;
  readonly #driver: NvmeDriver;
  #nextId = 0;

  constructor(driver: NvmeDriver, guest: Guest, id: number, entries: number) {
    this.#driver = driver;
    this.#guest = guest;
    this.id = id;
    this.entries = entries;
    this.submission = guest.allocate(entries * 64);
    this.completion = guest.allocate(entries * 16);
  }

  /** Forgets everything, as before the queue is created. */
  clear(): void {
    this.tail = 0;
    this.head = 0;
    this.phase = 1;
    this.#guest.at(this.completion, this.entries * 16).fill(0);
  }

  /** Fills an entry in without telling the controller; returns the command id. */
  put(
    { opcode, flags = 0, namespace = 0, prp1 = 0n, prp2 = 0n, dwords = [] }: Submission,
    id?: number,
  ): number {
    const commandId = id ?? this.#nextId++ & 0x7fff;
    const entry = this.#guest.view(this.submission + BigInt(this.tail * 64), 64);
    for (let at = 0; at < 64; at += 8) entry.setBigUint64(at, 0n);
    entry.setUint8(0, opcode);
    entry.setUint8(1, flags);
    entry.setUint16(2, commandId, true);
    entry.setUint32(4, namespace, true);
    entry.setBigUint64(24, prp1, true);
    entry.setBigUint64(32, prp2, true);
    for (const [i, dword] of dwords.entries()) entry.setUint32(40 + 4 * i, dword, true);
    this.tail = (this.tail + 1) % this.entries;
    return commandId;
  }

  /** Tells the controller of what was put. */
  ring(): void {
    this.#driver.write(0x1000 + 8 * this.id, this.tail);
  }

  /** Takes all completions that are there, and tells the controller unless `quietly`. */
  reap({ quietly = false, limit = Number.POSITIVE_INFINITY } = {}): Completion[] {
    const found: Completion[] = [];
    while (found.length < limit) {
      const entry = this.#guest.view(this.completion + BigInt(this.head * 16), 16);
      const status = entry.getUint16(14, true);
      if ((status & 1) !== this.phase) break;
      found.push({
        id: entry.getUint16(12, true),
        queue: entry.getUint16(10, true),
        head: entry.getUint16(8, true),
        status: (status >> 1) & 0x7ff,
        retry: (status & 0x8000) === 0,
        result: entry.getUint32(0, true),
      });
      this.head = (this.head + 1) % this.entries;
      if (this.head === 0) this.phase = 1 - this.phase;
    }
    if (!quietly && found.length > 0) this.acknowledge();
    return found;
  }

  /** Rings the doorbell of the completion queue. */
  acknowledge(): void {
    this.#driver.write(0x1004 + 8 * this.id, this.head);
  }
}

/** Lets everything that is ready happen. */
export const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A small NVMe driver: it has guest memory and queues, and works with whatever device it is attached to. */
export class NvmeDriver {
  readonly guest: Guest;
  readonly admin: QueuePair;
  #device: ServedDevice;

  constructor(guest: Guest, device: ServedDevice, adminEntries = 32) {
    this.guest = guest;
    this.#device = device;
    this.admin = new QueuePair(this, guest, 0, adminEntries);
  }

  /** The device has moved. */
  attach(device: ServedDevice): void {
    this.#device = device;
  }

  get device(): ServedDevice {
    return this.#device;
  }

  read(offset: number, length = 4): bigint {
    return peek(this.#bar, offset, length);
  }

  write(offset: number, value: number | bigint, length = 4): void {
    poke(this.#bar, offset, value, length);
  }

  get status(): number {
    return Number(this.read(0x1c));
  }

  /** Sets the admin queues up, writes CC and waits for RDY. */
  async enable(configuration = 0x00460001): Promise<void> {
    this.admin.clear();
    this.write(0x24, ((this.admin.entries - 1) << 16) | (this.admin.entries - 1));
    this.write(0x28, this.admin.submission, 8);
    this.write(0x30, this.admin.completion, 8);
    this.write(0x14, configuration);
    await this.until(() => (this.status & 3) !== 0, 'RDY or CFS');
  }

  async disable(): Promise<void> {
    this.write(0x14, 0x00460000);
    await this.until(() => (this.status & 1) === 0, 'not RDY');
  }

  /** Carries out one command on the admin queue. */
  command(submission: Submission): Promise<Completion> {
    return this.on(this.admin, submission);
  }

  /** Carries out one command on a queue that has nothing else in progress that would complete. */
  async on(pair: QueuePair, submission: Submission): Promise<Completion> {
    const id = pair.put(submission);
    pair.ring();
    let found: Completion | undefined;
    await this.until(() => {
      found = pair.reap()[0];
      return found !== undefined;
    }, `completion of command ${id}`);
    if (found?.id !== id) throw new Error(`expected the completion of ${id}, got that of ${found?.id}`);
    return found;
  }

  /** Creates an I/O queue pair. */
  async createPair(id: number, entries: number, vector = id, interrupts = true): Promise<QueuePair> {
    const pair = new QueuePair(this, this.guest, id, entries);
    pair.clear();
    const size = (entries - 1) << 16;
    const completion = await this.command({
      opcode: 0x05,
      prp1: pair.completion,
      dwords: [size | id, (vector << 16) | (interrupts ? 3 : 1)],
    });
    const submission = await this.command({
      opcode: 0x01,
      prp1: pair.submission,
      dwords: [size | id, (id << 16) | 1],
    });
    if (completion.status !== 0 || submission.status !== 0) throw new Error('the queues were refused');
    return pair;
  }

  async until(done: () => boolean, what: string): Promise<void> {
    for (let i = 0; i < 1000; i++) {
      if (done()) return;
      await settled();
    }
    throw new Error(`${what} did not come`);
  }

  get #bar(): Region | undefined {
    return this.#device.regions[0];
  }
}

/** PRP entries for `pages` (their addresses) as prp1 and prp2, with lists where there are more than two. */
export function describePages(
  guest: Pick<Guest, 'allocate' | 'view'>,
  pages: readonly bigint[],
  listOffset = 0,
): [bigint, bigint] {
  const [first = 0n, second = 0n] = pages;
  if (pages.length <= 2) return [first, second];
  const rest = pages.slice(1);
  const list = guest.allocate(4096) + BigInt(listOffset);
  let at = list;
  for (const [i, page] of rest.entries()) {
    const lastOfPage = (at & 0xff8n) === 0xff8n;
    if (lastOfPage && i < rest.length - 1) {
      const next = guest.allocate(4096);
      guest.view(at, 8).setBigUint64(0, next, true);
      at = next;
    }
    guest.view(at, 8).setBigUint64(0, page, true);
    at += 8n;
  }
  return [first, list];
}

/** Sets the enable bit of the MSI-X capability. */
export function enableMsix(served: ServedDevice): void {
  const config = served.regions[RegionIndex.CONFIG];
  let at = Number(peek(config, 0x34, 1));
  while (peek(config, at, 1) !== 0x11n) at = Number(peek(config, at + 1, 1));
  poke(config, at + 2, 0x8000, 2);
}
