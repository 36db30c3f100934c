import { PciDevice, u32, writeOnly } from '../../src/device/index.ts';

/** Every kind of doorbell, and registers that note what is written to them. */
export class BellDevice extends PciDevice {
  override readonly identity = { kind: 'bells', vendor: 0x1af4, device: 0x10f5, classCode: 0xff0000 };
  override readonly interrupts = {};
  readonly state = this.migratable({ sum: u32() });
  /** What the registers were written, in order: offset and value. */
  readonly written: (readonly [number, number | bigint])[] = [];
  override readonly bars = {
    0: this.registers(
      4096,
      {
        0x00: writeOnly((value) => this.#note(0x00, value)),
        0x04: writeOnly((value) => this.#note(0x04, value)),
        0x08: { width: 8, write: (value: bigint) => this.#note(0x08, value) },
        0x10: writeOnly((value) => this.#note(0x10, value), 2),
        0x14: writeOnly(() => {
          throw new Error('the device has broken');
        }),
      },
      {
        doorbells: [
          { offset: 0x00, size: 4, datamatch: 7 },
          { offset: 0x00, size: 4, datamatch: 0xffff_fff0 },
          { offset: 0x04, size: 4, shadow: true },
          { offset: 0x08, size: 8, shadow: true },
          { offset: 0x10, size: 2 },
          { offset: 0x14, size: 4 },
        ],
      },
    ),
    1: this.registers(
      16,
      { 0: writeOnly((value) => this.#note(0x100, value), 1) },
      { space: 'io', doorbells: [{ offset: 0, size: 1, datamatch: 9n }] },
    ),
    2: this.registers(4096, {}),
  };

  #note(offset: number, value: number | bigint): void {
    this.written.push([offset, value]);
    this.state.sum += Number(value);
  }
}

/** The bytes that one sub-region takes in a reply. */
const SUB_REGION = 48;

/** A sub-region as a client finds it in the bytes of a reply. */
export function subRegions(payload: Uint8Array) {
  const bytes = Buffer.from(payload);
  return Array.from({ length: (bytes.length - 16) / SUB_REGION }, (_, i) => {
    const at = 16 + SUB_REGION * i;
    return {
      offset: bytes.readBigUInt64LE(at),
      size: bytes.readBigUInt64LE(at + 8),
      fd: bytes.readUInt32LE(at + 16),
      type: bytes.readUInt32LE(at + 20),
      flags: bytes.readUInt32LE(at + 24),
      shadowFd: bytes.readUInt32LE(at + 28),
      shadowOffset: bytes.readBigUInt64LE(at + 32),
      datamatch: bytes.readBigUInt64LE(at + 40),
    };
  });
}
