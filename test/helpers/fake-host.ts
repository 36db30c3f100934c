import type { DeviceHost, Region, ServedDevice, TimerHandle, TimerHost } from '../../src/device/index.ts';
import type { FerryError } from '../../src/errors/index.ts';
import { AddressSpace, type DmaPort } from '../../src/memory/index.ts';
import { loadNative } from '../../src/native/index.ts';

interface Timer {
  due: number;
  readonly period: number | null;
  readonly run: () => void;
}

/** A clock that stands still until a test advances it. */
export class FakeTimers implements TimerHost {
  readonly #timers = new Set<Timer>();
  #now = 0;

  after(ms: number, run: () => void): TimerHandle {
    // Soon is not now, or a timer that starts itself anew would never let time pass.
    return this.#add({ due: this.#now + Math.max(ms, 1), period: null, run });
  }

  every(ms: number, run: () => void): TimerHandle {
    return this.#add({ due: this.#now + ms, period: ms, run });
  }

  /** How many timers tick. */
  get count(): number {
    return this.#timers.size;
  }

  /** Lets `ms` milliseconds pass: runs what becomes due, in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (let timer = this.#next(end); timer !== undefined; timer = this.#next(end)) {
      this.#now = timer.due;
      if (timer.period === null) this.#timers.delete(timer);
      else timer.due += timer.period;
      timer.run();
    }
    this.#now = end;
  }

  #add(timer: Timer): TimerHandle {
    this.#timers.add(timer);
    return { close: () => this.#timers.delete(timer) };
  }

  #next(end: number): Timer | undefined {
    const due = [...this.#timers].filter((timer) => timer.due <= end);
    return due.sort((a, b) => a.due - b.due)[0];
  }
}

interface Request {
  readonly iova: bigint;
  readonly length: number;
  settle(): void;
  fail(error: unknown): void;
}

/** A client that answers DMA messages from `guest`, at once or when the test says so. */
export class FakeDmaPort implements DmaPort {
  connected = true;
  /** Requests that wait for {@link FakeDmaPort.answer}. */
  readonly waiting: Request[] = [];
  /** Whether requests wait. */
  manual = false;
  readonly #guest: Uint8Array;
  readonly #base: bigint;

  constructor(guest: Uint8Array, base: bigint) {
    this.#guest = guest;
    this.#base = base;
  }

  read(iova: bigint, length: number): Promise<Uint8Array> {
    const at = Number(iova - this.#base);
    return this.#request(iova, length, () => this.#guest.slice(at, at + length));
  }

  write(iova: bigint, data: Uint8Array): Promise<void> {
    return this.#request(iova, data.length, () => this.#guest.set(data, Number(iova - this.#base)));
  }

  /** Answers everything that waits. */
  answer(): void {
    for (const request of this.waiting.splice(0)) request.settle();
  }

  /** Refuses everything that waits. */
  refuse(error: unknown): void {
    for (const request of this.waiting.splice(0)) request.fail(error);
  }

  #request<T>(iova: bigint, length: number, act: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const settle = () => resolve(act());
      if (this.manual) this.waiting.push({ iova, length, settle, fail: reject });
      else settle();
    });
  }
}

/** A host for one device in a test: real memory, a fake clock, and a list of what the device reported. */
export class FakeHost implements DeviceHost {
  readonly native = loadNative();
  readonly memory = new AddressSpace(this.native);
  readonly timers = new FakeTimers();
  readonly reported: FerryError[] = [];
  readonly mode: DeviceHost['mode'];

  constructor(mode: DeviceHost['mode'] = 'event-loop') {
    this.mode = mode;
  }

  report(error: FerryError): void {
    this.reported.push(error);
  }

  /** Gives the device `size` bytes of guest memory at `iova` that it can map; returns them. */
  mapMemory(iova: bigint, size: number): Uint8Array {
    const fd = this.native.memfd('guest', size, true);
    const buffer = this.native.map(fd, 0, size, 3);
    if (typeof buffer === 'number') throw new Error(`mmap failed with ${buffer}`);
    const flags = { read: true, write: true, mode: 'mmap' } as const;
    this.memory.map({ iova, size: BigInt(size), offset: 0n, flags, fd });
    this.#buffers.push(buffer);
    return new Uint8Array(buffer);
  }

  /** Gives the device `guest` as memory at `iova` that it reaches only by message; returns the other end. */
  messageMemory(iova: bigint, guest: Uint8Array): FakeDmaPort {
    const flags = { read: true, write: true, mode: 'message' } as const;
    this.memory.map({ iova, size: BigInt(guest.length), offset: 0n, flags, fd: null });
    const port = new FakeDmaPort(guest, iova);
    this.memory.setPort(port);
    return port;
  }

  /** Gives everything back. */
  close(): void {
    this.memory.clear();
    for (const buffer of this.#buffers.splice(0)) this.native.unmap(buffer);
  }

  readonly #buffers: ArrayBuffer[] = [];
}

/** Reads `length` bytes (1 to 8) at `offset` of a region, as a little-endian number. */
export function peek(region: Region | undefined, offset: number, length = 4): bigint {
  const bytes = new Uint8Array(length);
  region?.read(offset, bytes, 0, length);
  return bytes.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
}

/** Writes `value` as `length` little-endian bytes (1 to 8) at `offset` of a region. */
export function poke(region: Region | undefined, offset: number, value: number | bigint, length = 4): void {
  let rest = BigInt(value);
  const bytes = Uint8Array.from({ length }, () => {
    const byte = Number(rest & 0xffn);
    rest >>= 8n;
    return byte;
  });
  region?.write(offset, bytes, 0, length);
}

/** Gives one vector of a served device a trigger; returns how often it has been signalled. */
export function listen(device: ServedDevice, index: number, vector = 0): () => number {
  let signals = 0;
  device.interrupts.setTriggers(index, vector, [
    () => {
      signals++;
    },
  ]);
  return () => signals;
}
