/**
 * The registers of the memory device in BAR0, all 32 bits wide; two neighbours can be accessed as 64 bits. Every
 * offset of the page can be read at every width; what is not listed reads 0 and ignores writes.
 *
 * | offset | name | access | meaning |
 * |---|---|---|---|
 * | 0x000 | ID | r | 0x4d454d46 (`FMEM` in memory) |
 * | 0x004 | VERSION | r | 1 |
 * | 0x008 | SIZE_LOW | r | bytes of memory in BAR2, low half |
 * | 0x00c | SIZE_HIGH | r | high half |
 * | 0x010 | DMA_ADDRESS_LOW | rw | IOVA of the guest buffer, low half; writes are ignored while BUSY |
 * | 0x014 | DMA_ADDRESS_HIGH | rw | high half; writes are ignored while BUSY |
 * | 0x018 | DMA_LENGTH | rw | bytes of the guest buffer; writes are ignored while BUSY |
 * | 0x01c | COMMAND | rw | a write of 1 starts a CRC-32 of the guest buffer, a write of 2 raises an interrupt at once; reads the command in progress, 0 when idle |
 * | 0x020 | STATUS | r, w1c | 1 BUSY; 2 DONE and 4 FAILED are set when a command ends and cleared by writing 1 |
 * | 0x024 | RESULT | r | CRC-32 (that of zlib) of the last buffer |
 * | 0x028 | ERROR | r | errno of the last command; 0 if it succeeded |
 * | 0x02c | VECTOR | rw | the vector that commands raise, 0 to 3 |
 * | 0x030 | TICKS | rw | goes up by one each PERIOD while the device runs |
 * | 0x034 | PERIOD | rw | milliseconds, up to 0xffffff, 10 after reset; 0 stops the clock |
 * | 0x038 | INTERRUPTS | r | how many interrupts the device has raised |
 * | 0x03c | DOORBELL | w | raises vector `value & 3` at once; may be rung through an eventfd, as a COMMAND of 1 may |
 * | 0x040 | INTERRUPT_STATUS | r, w1c | one bit for each vector raised; INTx is deasserted when it becomes 0 |
 * | 0x044 | COMPLETED | r | how many commands have ended |
 * | 0x050 | INTERRUPTS_0 to INTERRUPTS_3 | r | INTERRUPTS of each vector |
 * | 0x080 to 0x3fc | SCRATCH | rw | 224 words that mean nothing |
 */
export const MemoryRegister = {
  ID: 0x00,
  VERSION: 0x04,
  SIZE_LOW: 0x08,
  SIZE_HIGH: 0x0c,
  DMA_ADDRESS_LOW: 0x10,
  DMA_ADDRESS_HIGH: 0x14,
  DMA_LENGTH: 0x18,
  COMMAND: 0x1c,
  STATUS: 0x20,
  RESULT: 0x24,
  ERROR: 0x28,
  VECTOR: 0x2c,
  TICKS: 0x30,
  PERIOD: 0x34,
  INTERRUPTS: 0x38,
  DOORBELL: 0x3c,
  INTERRUPT_STATUS: 0x40,
  COMPLETED: 0x44,
  INTERRUPTS_0: 0x50,
  SCRATCH: 0x80,
} as const;

/** What COMMAND takes. */
export const MemoryCommand = { CHECKSUM: 1, ECHO: 2 } as const;

/** Bits of STATUS. */
export const MemoryStatus = { BUSY: 1, DONE: 2, FAILED: 4 } as const;

/** What ID and VERSION read. */
export const MEMORY_ID = 0x4d454d46;
export const MEMORY_VERSION = 1;

/** How many MSI-X vectors it has. */
export const MEMORY_VECTORS = 4;
