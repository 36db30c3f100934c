import { field, MiB, memory, PciDevice, u32 } from '../../src/device/index.ts';
import { fields, type RawClient, type RawMessage, rawMessage } from '../helpers/raw-client.ts';

/** Registers of {@link DmaDevice} in BAR 0. */
export const Reg = { ADDRESS: 0x00, LENGTH: 0x04, DOORBELL: 0x08, DONE: 0x0c, FAILED: 0x10 } as const;
/** Values of the doorbell. */
export const Doorbell = { READ: 1, WRITE: 2 } as const;

/** Moves memory between the guest and its own 4 MiB (BAR 2) when the doorbell is rung. */
export class DmaDevice extends PciDevice {
  override readonly identity = { kind: 'dma', vendor: 0x1af4, device: 0x10f1, classCode: 0xff0000 };
  readonly state = this.migratable({
    address: u32(),
    length: u32(),
    doorbell: u32(),
    done: u32(),
    failed: u32(),
    ram: memory(4 * MiB),
  });
  override readonly bars = {
    0: this.registers(4096, {
      [Reg.ADDRESS]: field(this.state, 'address'),
      [Reg.LENGTH]: field(this.state, 'length'),
      [Reg.DOORBELL]: {
        read: () => this.state.doorbell,
        write: (value: number) => {
          this.state.doorbell = value;
          this.kick();
        },
      },
      [Reg.DONE]: field(this.state, 'done'),
      [Reg.FAILED]: field(this.state, 'failed'),
    }),
    2: this.memoryBar(this.state.ram),
  };
  override readonly interrupts = { msix: 1 };

  override async work(): Promise<void> {
    const { address, length, doorbell, ram } = this.state;
    if (doorbell === 0) return;
    try {
      if (doorbell === Doorbell.READ) ram.write(0, await this.dma.read(BigInt(address), length));
      else await this.dma.write(BigInt(address), ram.bytes.slice(0, length));
      this.state.done += 1;
      this.raise();
    } catch {
      this.state.failed += 1;
    }
    this.state.doorbell = 0;
  }
}

/** The payload of a REGION_WRITE of registers in a row. */
export function writeRegisters(offset: number, ...values: readonly number[]): Buffer {
  return fields(BigInt(offset), 0, values.length * 4, ...values);
}

/** Offers guest memory without a file, so that it is reached by message. */
export async function offerGuest(client: RawClient, iova: bigint, size: number): Promise<void> {
  const { error } = await client.request(2, fields(32, 3, 0n, iova, BigInt(size)));
  if (error !== 0) throw new Error(`DMA_MAP: errno ${error}`);
}

/** Posts the writes that start a transfer. */
export function ringDoorbell(client: RawClient, doorbell: number, address: number, length: number): void {
  client.post(10, writeRegisters(Reg.ADDRESS, address, length, doorbell), 0x10);
}

/** Reads a register. */
export async function readRegister(client: RawClient, offset: number): Promise<number> {
  const reply = await client.request(9, fields(BigInt(offset), 0, 4));
  if (reply.error !== 0) throw new Error(`REGION_READ: errno ${reply.error}`);
  return Buffer.from(reply.payload).readUInt32LE(16);
}

/** Whether a message is a command of the server's. */
export function isCommand(message: RawMessage): boolean {
  return (message.flags & 0xf) === 0;
}

/** A DMA message taken apart. */
export function dmaOf(message: RawMessage) {
  const payload = Buffer.from(message.payload);
  return {
    address: Number(payload.readBigUInt64LE(0)),
    count: Number(payload.readBigUInt64LE(8)),
    data: payload.subarray(16),
  };
}

/** Answers a DMA message from or into `guest`, which begins at address 0. */
export async function answerDma(client: RawClient, guest: Uint8Array, message: RawMessage): Promise<void> {
  const { address, count, data } = dmaOf(message);
  const echo = fields(BigInt(address), BigInt(count));
  if (message.command === 12) guest.set(data, address);
  const payload =
    message.command === 12 ? echo : Buffer.concat([echo, guest.subarray(address, address + count)]);
  await client.stream(rawMessage(message.id, message.command, payload, 1));
}
