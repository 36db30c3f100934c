import { DeviceClient, type GuestMemory, type InterruptListener } from '../../client/index.ts';
import { MEMORY_VECTORS } from '../../devices/index.ts';
import { IrqIndex, RegionIndex } from '../../protocol/index.ts';

/** The guest's connection to a device: what the main connection owns, and what must be made anew after a move. */
export interface Attachment {
  readonly client: DeviceClient;
  /** BAR2, shared with the server. */
  readonly mapped: Uint8Array;
}

/** Connects as a VMM does: guest memory, interrupts, the mapped BAR. */
export async function attach(
  path: string,
  memory: GuestMemory,
  onInterrupt: InterruptListener,
): Promise<Attachment> {
  const client = await DeviceClient.connect(path, { memory });
  try {
    await client.enableInterrupts(IrqIndex.MSIX, MEMORY_VECTORS, onInterrupt);
    const [area] = (await client.mapRegion(RegionIndex.BAR2)).areas;
    if (area === undefined) throw new Error('the server shares nothing of BAR2');
    return { client, mapped: area.bytes };
  } catch (error) {
    client.close();
    throw error;
  }
}
