import { Errno } from '../../errors/index.ts';
import { Command, dmaRead, dmaWrite, ProtocolError, RegionIndex } from '../../protocol/index.ts';
import { broken, demand, given } from '../verdict.ts';
import { fields, u64At } from '../wire/bytes.ts';
import type { Received } from '../wire/message-cutter.ts';
import { Patience } from '../wire/patience.ts';
import type { Wire } from '../wire/wire.ts';
import { read, write } from './ask.ts';

/** What a guest does with a DMA message. */
export type Manner = (guest: Guest, wire: Wire, message: Received) => void | Promise<void>;

/** Guest memory that a device reaches by messages, and what it has asked for. */
export class Guest {
  readonly memory: Uint8Array;
  readonly base: bigint;
  /** Every DMA message that came, in order. */
  readonly seen: { readonly command: number; readonly address: bigint; readonly count: bigint }[] = [];
  /** What was wrong with the messages, if anything was. */
  readonly complaints: string[] = [];

  constructor(base: bigint, size: number) {
    this.base = base;
    // No two pages are the same, so that one which was not copied does not look as if it were.
    this.memory = Uint8Array.from({ length: size }, (_, at) => (at * 31 + (at >> 8) * 17 + 5) & 0xff);
  }

  /** Answers what comes over a wire from now on. */
  serve(wire: Wire, manner: Manner = answer): void {
    wire.onCommand = (message) => {
      this.#note(message);
      // A wire that ends while it is written to shows in whatever the rule waits for.
      void Promise.resolve(manner(this, wire, message)).catch(() => {});
    };
  }

  /** Demands that every message was right, and that there was at least one. */
  demandRight(): void {
    const [complaint] = this.complaints;
    if (complaint !== undefined) broken(complaint, 'DMA_READ or DMA_WRITE of memory that is mapped');
    demand(this.seen.length > 0, 'no DMA message came', 'DMA_READ or DMA_WRITE');
  }

  #note({ header, payload }: Received): void {
    const { command } = header;
    const declared = command === Command.DMA_READ ? dmaRead : command === Command.DMA_WRITE ? dmaWrite : null;
    if (declared === null) return void this.complaints.push(`command ${command} came`);
    try {
      declared.request.decode(payload);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.complaints.push(error.message);
    }
    const [address, count] = [u64At(payload, 0), u64At(payload, 8)];
    this.seen.push({ command, address, count });
    const inside = address >= this.base && address + count <= this.base + BigInt(this.memory.length);
    if (!inside)
      this.complaints.push(
        `${count} bytes at 0x${address.toString(16)} were asked for, which are not mapped`,
      );
  }
}

/** Answers as a client that is well. */
export const answer: Manner = async (guest, wire, message) => {
  const { payload, header } = message;
  const [address, count] = [u64At(payload, 0), u64At(payload, 8)];
  const at = Number(address - guest.base);
  const inside = at >= 0 && at + Number(count) <= guest.memory.length;
  if (!inside) return wire.answer(message, fields(), { error: Errno.EFAULT });
  if (header.command === Command.DMA_WRITE) {
    guest.memory.set(payload.subarray(16, 16 + Number(count)), at);
    return wire.answer(message, fields(address, count));
  }
  return wire.answer(message, fields(address, count, guest.memory.subarray(at, at + Number(count))));
};

/** Refuses each access. */
export const refuse: Manner = (_, wire, message) => wire.answer(message, fields(), { error: Errno.EFAULT });

/** The registers of edu (QEMU, docs/specs/edu.rst). */
const EDU = { SOURCE: 0x80n, DESTINATION: 0x88n, COUNT: 0x90n, COMMAND: 0x98n, LIVENESS: 0x04n } as const;
const EDU_BUFFER = 0x40000n;
const [RUN, TO_MEMORY] = [1n, 2n];
const BUS_MASTER_AND_MEMORY = Uint8Array.of(0x06, 0x00);

/** Starts a transfer between guest memory and edu's buffer; does not wait for it. */
export async function startEdu(
  wire: Wire,
  direction: 'from memory' | 'to memory',
  iova: bigint,
  count: number,
): Promise<void> {
  await given('starting DMA', async () => {
    await write(wire, RegionIndex.CONFIG, 4n, BUS_MASTER_AND_MEMORY);
    const toMemory = direction === 'to memory';
    await write(wire, 0, EDU.SOURCE, fields(toMemory ? EDU_BUFFER : iova));
    await write(wire, 0, EDU.DESTINATION, fields(toMemory ? iova : EDU_BUFFER));
    await write(wire, 0, EDU.COUNT, fields(BigInt(count)));
    await write(wire, 0, EDU.COMMAND, fields(RUN | (toMemory ? TO_MEMORY : 0n)));
  });
}

/** Waits until edu has ended its transfer. */
export async function eduEnds(wire: Wire): Promise<void> {
  const patience = new Patience(wire.timeoutMs);
  while ((u64At(await read(wire, 0, EDU.COMMAND, 8), 0) & RUN) !== 0n) {
    if (patience.left === 0) broken('the device does not come to the end of its DMA', 'the end');
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** A transfer from beginning to end. */
export async function runEdu(...transfer: Parameters<typeof startEdu>): Promise<void> {
  await startEdu(...transfer);
  await eduEnds(transfer[0]);
}

/** A register of edu that every access can reach. */
export const EDU_LIVENESS = EDU.LIVENESS;
