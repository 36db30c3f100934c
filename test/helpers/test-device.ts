import { field, memory, PciDevice, readOnly, u32 } from '../../src/device/index.ts';

const KiB = 1024;

/** A write of SCRATCH that may be signalled through an eventfd. */
export const TEST_BELL = { offset: 0x04, size: 4, datamatch: 0x77 } as const;

/** A small device with one of everything: registers, memory that can be mapped, MSI-X and INTx, DMA by work(). */
export class TestDevice extends PciDevice {
  override readonly identity = {
    kind: 'test',
    vendor: 0x1af4,
    device: 0x10f0,
    classCode: 0xff0000,
    revision: 1,
  };
  readonly state = this.migratable({
    scratch: u32(),
    counter: u32({ initial: 7 }),
    dmaAddress: u32(),
    dmaLength: u32(),
    dmaDone: u32(),
    ram: memory(64 * KiB),
  });
  override readonly bars = {
    0: this.registers(
      4 * KiB,
      {
        0x00: readOnly(() => 0x600df00d),
        0x04: field(this.state, 'scratch'),
        0x08: field(this.state, 'counter'),
        0x0c: field(this.state, 'dmaAddress'),
        0x10: {
          read: () => this.state.dmaLength,
          write: (length: number) => {
            this.state.dmaLength = length;
            this.kick();
          },
        },
        0x14: readOnly(() => this.state.dmaDone),
        0x18: { read: () => 0, write: (vector: number) => this.raise(vector) },
      },
      { doorbells: [TEST_BELL] },
    ),
    2: this.memoryBar(this.state.ram, { mmap: true }),
  };
  override readonly interrupts = { intx: true, msix: 4 };

  /** Reads `dmaLength` bytes of guest memory into its own, then says so. */
  override async work(): Promise<void> {
    if (this.state.dmaLength === 0) return;
    const data = await this.dma.read(BigInt(this.state.dmaAddress), this.state.dmaLength);
    this.state.ram.write(0, data);
    this.state.dmaLength = 0;
    this.state.dmaDone += 1;
    this.raise(1);
  }
}
