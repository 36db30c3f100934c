/** The devices whose migrations are measured: `{ kind, size }`, `size` in bytes. */
import { randomFillSync } from 'node:crypto';
import { constant, KiB, MiB, memory, PciDevice } from '../dist/device/index.js';
import { MigrationFlag } from '../dist/states/index.js';

const PAGE = 4 * KiB;
/** How often it rewrites, in milliseconds, and which part of its state per second. */
const TICK = 10;
const SHARE = 0.02;

class MigratedDevice extends PciDevice {
  identity = { kind: 'migrated', vendor: 0x1234, device: 0x4654, classCode: 0xff0000 };
  interrupts = { intx: true };
  bars = { 0: this.registers(4 * KiB, { 0: constant(0x12345678) }) };
}

/** Bytes from a buffer, as many as its state is long, and no memory of that length anywhere. */
class Stream {
  flags = MigrationFlag.STOP_COPY | MigrationFlag.P2P;
  #bytes = Buffer.alloc(MiB);
  #size;
  #left = 0;

  constructor(size) {
    randomFillSync(this.#bytes);
    this.#size = size;
  }

  arc() {
    this.#left = this.#size;
  }

  view(limit) {
    const length = Math.min(limit, this.#left, this.#bytes.length);
    this.#left -= length;
    return this.#bytes.subarray(0, length);
  }

  read() {
    return 0;
  }

  write(data) {
    this.#left -= data.length;
  }

  precopyInfo() {
    return { initialBytes: 0n, dirtyBytes: 0n };
  }

  dataSize() {
    return BigInt(this.#size);
  }

  reset() {}
}

class StreamDevice extends MigratedDevice {
  #size;

  constructor(size) {
    super();
    this.#size = size;
  }

  createMigration() {
    return new Stream(this.#size);
  }
}

/** Declared state that the device goes on rewriting as long as it runs: random pages, a fiftieth of it per second. */
class RewritingDevice extends MigratedDevice {
  state;

  constructor(size) {
    super();
    this.state = this.migratable({ memory: memory(size) });
    const pages = Math.round((size * SHARE * TICK) / 1000 / PAGE);
    const page = randomFillSync(new Uint8Array(PAGE));
    this.every(TICK, () => {
      for (let i = 0; i < pages; i++) {
        const at = Math.floor((Math.random() * size) / PAGE) * PAGE;
        this.state.memory.bytes.set(page, at);
        this.state.memory.markDirty(at, PAGE);
      }
    });
  }
}

/** Declared state full of random bytes. */
function fill({ state }) {
  const { bytes, size } = state.memory;
  const piece = randomFillSync(new Uint8Array(Math.min(size, 64 * MiB)));
  for (let at = 0; at < size; at += piece.length) bytes.set(piece, at);
  state.memory.markDirty(0, size);
}

class FilledDevice extends MigratedDevice {
  state;

  constructor(size) {
    super();
    this.state = this.migratable({ memory: memory(size) });
  }
}

const makers = {
  stream: (size) => new StreamDevice(size),
  rewriting: (size) => new RewritingDevice(size),
  filled: (size) => new FilledDevice(size),
};

/** A device and what fills it once it is served. */
export default function makeDevice({ kind, size }) {
  const device = makers[kind](size);
  return { device, fill: () => (kind === 'stream' ? undefined : fill(device)) };
}
