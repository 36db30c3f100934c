/**
 * The devices that the bench serves. The default export is a factory for both modes: `{ kind, dedicated }`.
 */
import { randomFillSync } from 'node:crypto';
import { constant, KiB, MiB, memory, PciDevice, writeOnly } from '../dist/device/index.js';
import { Edu, NvmeDevice } from '../dist/devices/index.js';
import { MigrationFlag } from '../dist/states/index.js';

/** More than the caches hold, and as much as copy.c reads from. */
const STATE_SIZE = 64 * MiB;

/** A register to read at 0, a doorbell at 4 that raises an interrupt. */
class BenchDevice extends PciDevice {
  identity = { kind: 'bench', vendor: 0x1234, device: 0x4653, classCode: 0xff0000 };
  interrupts = { msix: 1 };
  bars = { 0: this.registers(4 * KiB, { 0: constant(0x12345678), 4: writeOnly(() => this.raise()) }) };
}

/** Migration by hand: bytes from a buffer and into it, without checksum or comparison. Its data never ends. */
class RawMigration {
  flags = MigrationFlag.STOP_COPY | MigrationFlag.P2P | MigrationFlag.PRE_COPY;
  #bytes = Buffer.alloc(STATE_SIZE, 0x5a);
  #at = 0;

  arc() {
    this.#at = 0;
  }

  /** Lends its bytes, as a device does whose state lies in memory. */
  view(limit) {
    const at = this.#at + limit > STATE_SIZE ? 0 : this.#at;
    this.#at = at + limit;
    return this.#bytes.subarray(at, at + limit);
  }

  read() {
    return 0;
  }

  /** Has the bytes where the plain copy has them as well: in this process. */
  write(data) {
    this.#at += data.length;
  }

  precopyInfo() {
    return { initialBytes: BigInt(STATE_SIZE), dirtyBytes: 0n };
  }

  dataSize() {
    return BigInt(STATE_SIZE);
  }

  reset() {}
}

class RawDevice extends BenchDevice {
  createMigration() {
    return new RawMigration();
  }
}

/** Declared state, full of random bytes: what an author gets for free, checksums included. */
class CheckedDevice extends BenchDevice {
  state = this.migratable({ memory: memory(4 * STATE_SIZE) });

  bind(host) {
    const bound = super.bind(host);
    randomFillSync(this.state.memory.bytes);
    this.state.memory.markDirty(0, this.state.memory.size);
    return bound;
  }
}

const makers = {
  raw: () => new RawDevice(),
  checked: () => new CheckedDevice(),
  edu: () => new Edu(),
  nvme: (dedicated) => new NvmeDevice({ asynchronous: !dedicated, ram: STATE_SIZE }),
};

export default function makeDevice({ kind, dedicated = false }) {
  return makers[kind](dedicated);
}
