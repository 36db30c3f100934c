import { memory, PciDevice, u32 } from '../../src/device/index.ts';
import { fields, type RawClient, type RawMessage } from '../helpers/raw-client.ts';

/** Notes what is written to its BAR, which breaks at 0x100. */
export class Recorder extends PciDevice {
  override readonly identity = { kind: 'recorder', vendor: 0x1af4, device: 0x10f3, classCode: 0xff0000 };
  readonly written: number[] = [];
  readonly state = this.migratable({ value: u32(), ram: memory(4096) });
  override readonly bars = {
    0: this.callbacks(4096, {
      read: (_, target, at, length) => {
        target.fill(this.state.value, at, at + length);
      },
      write: (offset, source, at) => {
        if (offset === 0x100) throw new TypeError('a bug of the device');
        this.state.value = source[at] ?? 0;
        this.written.push(this.state.value);
      },
    }),
  };
  override readonly interrupts = { msix: 1 };
}

/** The payload of a REGION_WRITE of BAR 0. */
export const write = (value: number, offset = 0n): Buffer => fields(offset, 0, 4, value);
/** The payload of a REGION_READ of BAR 0. */
export const read = fields(0n, 0, 4);

/** Whether the reply with this id stays away while a hold lasts. */
export async function waits(client: RawClient, id: number): Promise<boolean> {
  return !(await client.receives((message) => message.id === id, 25));
}

/** Whether this command is answered, however slow the machine is. */
export function isServed(client: RawClient, command: number, payload: Buffer): Promise<boolean> {
  const id = client.post(command, payload);
  return client.receives((message) => message.id === id, 10_000);
}

/** The first register in a reply to a read. */
export function valueIn(reply: RawMessage | undefined): number {
  return reply?.payload[16] ?? -1;
}
