import type { Command } from './command.ts';
import { all, chain, type Later, orElse } from './later.ts';
import { ALL_NAMESPACES, MAX_TRANSFER, NAMESPACE } from './limits.ts';
import type { NamespaceBackend } from './namespace.ts';
import { IoOpcode } from './opcodes.ts';
import { Status } from './status.ts';

/** Force Unit Access in dword 12: durable before the completion. */
const FORCE = 1 << 30;
/** Deallocate in dword 11 of Dataset Management; other attributes are hints that mean nothing here. */
const DEALLOCATE = 1 << 2;
/** A range of Dataset Management: attributes, blocks, first block (NVM Express 1.4, figure 361). */
const RANGE_SIZE = 16;
/** Cleared at a time, in bytes; then other things get a turn. */
const PIECE = 16 * 1024 * 1024;

/** What the commands work on. */
export interface IoParts {
  readonly backend: NamespaceBackend;
  readonly asynchronous: boolean;
  readonly pageSize: () => number;
  /** Whether the guest wants a volatile write cache, if there is one. */
  readonly cacheEnabled: () => boolean;
  /** Is told what is wrong with the backend. */
  readonly note: (error: unknown) => void;
}

/** Blocks in a row. */
interface BlockRange {
  readonly first: number;
  readonly count: number;
}

/** What was read and written; units have 512 bytes. */
export function noTraffic() {
  return { reads: 0, writes: 0, unitsRead: 0, unitsWritten: 0 };
}

/** The NVM commands (section 6). Everything a guest names is checked before anything is touched. */
export class IoCommands {
  /** What was read and written since somebody counted it. */
  traffic = noTraffic();
  /** How many bytes were moved, cleared or looked at since the beginning. */
  bytes = 0;
  readonly #parts: IoParts;
  readonly #backend: NamespaceBackend;

  constructor(parts: IoParts) {
    this.#parts = parts;
    this.#backend = parts.backend;
  }

  /** Carries out a command and returns its status. */
  execute(command: Command): Later<number> {
    const { opcode, namespace } = command;
    if (opcode === IoOpcode.FLUSH) {
      if (namespace !== NAMESPACE && namespace !== ALL_NAMESPACES) return Status.INVALID_NAMESPACE;
      return this.#flush();
    }
    if (namespace !== NAMESPACE) return Status.INVALID_NAMESPACE;
    switch (opcode) {
      case IoOpcode.READ:
      case IoOpcode.WRITE:
      case IoOpcode.COMPARE:
        return this.#transfer(command);
      case IoOpcode.WRITE_ZEROES:
        return this.#writeZeroes(command);
      case IoOpcode.DATASET_MANAGEMENT:
        return this.#manage(command);
      default:
        return Status.INVALID_OPCODE;
    }
  }

  /** The first block that a command names. Beyond 2^53 it is rounded, and no namespace is as big as that. */
  static firstBlock(command: Command): number {
    return command.dword11 * 2 ** 32 + command.dword10;
  }

  #transfer(command: Command): Later<number> {
    const { transfer, prp1, prp2 } = command;
    const length = blocksOf(command) * this.#backend.blockSize;
    if (length > MAX_TRANSFER) return Status.INVALID_FIELD;
    if (!this.#contains(IoCommands.firstBlock(command), blocksOf(command))) return Status.LBA_OUT_OF_RANGE;
    this.bytes += length;
    const located = transfer.locate(prp1, prp2, length, this.#parts.pageSize());
    return chain(located, (status) => {
      if (status !== Status.SUCCESS) return status;
      const offset = IoCommands.firstBlock(command) * this.#backend.blockSize;
      if (command.opcode === IoOpcode.READ) return this.#read(command, offset, length);
      if (command.opcode === IoOpcode.WRITE) return this.#write(command, offset, length);
      return this.#compare(command, offset, length);
    });
  }

  #read({ transfer }: Command, offset: number, length: number): Later<number> {
    this.traffic.reads++;
    this.traffic.unitsRead += length / 512;
    if (this.#backend.synchronous && transfer.map()) return this.#readMapped(transfer, offset);
    const data = new Uint8Array(length);
    return chain(this.#load(offset, data), (status) =>
      status === Status.SUCCESS ? transfer.send(data) : status,
    );
  }

  #readMapped(transfer: Command['transfer'], offset: number): Later<number> {
    let at = offset;
    return this.#attempt(Status.UNRECOVERED_READ, () => {
      for (let i = 0; i < transfer.count; i++) {
        const view = transfer.views[i] ?? NOTHING;
        this.#backend.read(at, view);
        at += view.length;
      }
      transfer.written();
    });
  }

  #write(command: Command, offset: number, length: number): Later<number> {
    const { transfer } = command;
    this.traffic.writes++;
    this.traffic.unitsWritten += length / 512;
    if (this.#backend.synchronous && transfer.map()) {
      return chain(this.#writeMapped(transfer, offset), (status) => this.#settle(command, status));
    }
    const data = new Uint8Array(length);
    return chain(transfer.receive(data), (status) => {
      if (status !== Status.SUCCESS) return status;
      return chain(this.#store(offset, data), (stored) => this.#settle(command, stored));
    });
  }

  #writeMapped(transfer: Command['transfer'], offset: number): Later<number> {
    let at = offset;
    return this.#attempt(Status.WRITE_FAULT, () => {
      for (let i = 0; i < transfer.count; i++) {
        const view = transfer.views[i] ?? NOTHING;
        this.#backend.write(at, view);
        at += view.length;
      }
    });
  }

  #compare({ transfer }: Command, offset: number, length: number): Later<number> {
    this.traffic.reads++;
    this.traffic.unitsRead += length / 512;
    const wanted = new Uint8Array(length);
    const found = new Uint8Array(length);
    return chain(transfer.receive(wanted), (received) => {
      if (received !== Status.SUCCESS) return received;
      return chain(this.#load(offset, found), (loaded) => {
        if (loaded !== Status.SUCCESS) return loaded;
        return Buffer.compare(wanted, found) === 0 ? Status.SUCCESS : Status.COMPARE_FAILURE;
      });
    });
  }

  #writeZeroes(command: Command): Later<number> {
    const first = IoCommands.firstBlock(command);
    const count = blocksOf(command);
    if (!this.#contains(first, count)) return Status.LBA_OUT_OF_RANGE;
    this.traffic.writes++;
    const zeroed = this.#clear([{ first, count }], (offset, length) => this.#backend.zero(offset, length));
    return chain(zeroed, (status) => this.#settle(command, status));
  }

  #manage(command: Command): Later<number> {
    const { transfer, prp1, prp2 } = command;
    if (this.#backend.discard === undefined) return Status.INVALID_OPCODE;
    const ranges = new Uint8Array(((command.dword10 & 0xff) + 1) * RANGE_SIZE);
    return chain(transfer.locate(prp1, prp2, ranges.length, this.#parts.pageSize()), (located) => {
      if (located !== Status.SUCCESS) return located;
      return chain(transfer.receive(ranges), (received) => {
        if (received !== Status.SUCCESS || (command.dword11 & DEALLOCATE) === 0) return received;
        return this.#deallocate(ranges);
      });
    });
  }

  /**
   * Discards ranges as long as they have no more blocks together than the namespace: who names more repeats himself,
   * and to deallocate is a hint.
   */
  #deallocate(list: Uint8Array): Later<number> {
    const view = new DataView(list.buffer);
    const ranges: BlockRange[] = [];
    let left = this.#backend.blocks;
    for (let at = 0; at < list.length; at += RANGE_SIZE) {
      const range = { first: Number(view.getBigUint64(at + 8, true)), count: view.getUint32(at + 4, true) };
      if (!this.#contains(range.first, range.count)) return Status.LBA_OUT_OF_RANGE;
      left -= range.count;
      if (left >= 0) ranges.push(range);
    }
    return this.#clear(ranges, (offset, length) => this.#backend.discard?.(offset, length));
  }

  /** Does something to ranges, however long: much work does not keep everything else from running. */
  #clear(ranges: readonly BlockRange[], act: (offset: number, length: number) => Later<void>): Later<number> {
    const { blockSize } = this.#backend;
    const length = ranges.reduce((sum, { count }) => sum + count * blockSize, 0);
    this.bytes += length;
    return this.#attempt(Status.WRITE_FAULT, () => {
      if (this.#parts.asynchronous && length > PIECE) return this.#clearInTurns(ranges, act);
      return all(ranges.length, (i) => {
        const { first = 0, count = 0 } = ranges[i] ?? {};
        return act(first * blockSize, count * blockSize);
      });
    });
  }

  async #clearInTurns(
    ranges: readonly BlockRange[],
    act: (offset: number, length: number) => Later<void>,
  ): Promise<void> {
    const { blockSize } = this.#backend;
    for (const { first, count } of ranges) {
      const end = (first + count) * blockSize;
      for (let at = first * blockSize; at < end; at += PIECE) {
        await act(at, Math.min(PIECE, end - at));
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
  }

  /** What was written has to be durable if the command or the guest wants it so. */
  #settle(command: Command, status: number): Later<number> {
    const cached = (command.dword12 & FORCE) === 0 && this.#parts.cacheEnabled();
    if (status !== Status.SUCCESS || !this.#backend.volatileCache || cached) return status;
    return this.#flush();
  }

  #flush(): Later<number> {
    return this.#attempt(Status.WRITE_FAULT, () => this.#backend.flush());
  }

  #load(offset: number, target: Uint8Array): Later<number> {
    return this.#attempt(Status.UNRECOVERED_READ, () => this.#backend.read(offset, target));
  }

  #store(offset: number, data: Uint8Array): Later<number> {
    return this.#attempt(Status.WRITE_FAULT, () => this.#backend.write(offset, data));
  }

  #attempt(failure: number, act: () => Later<void>): Later<number> {
    return orElse<number>(failure, () => chain(act(), () => Status.SUCCESS), this.#parts.note);
  }

  #contains(first: number, count: number): boolean {
    return first + count <= this.#backend.blocks;
  }
}

const NOTHING = new Uint8Array(0);

function blocksOf(command: Command): number {
  return (command.dword12 & 0xffff) + 1;
}
