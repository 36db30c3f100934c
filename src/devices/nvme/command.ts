import type { GuestMemory } from './guest-memory.ts';
import { Status } from './status.ts';
import { Transfer } from './transfer.ts';

/** Fields of a submission queue entry by offset (NVM Express 1.4, section 4.2). */
const OPCODE = 0;
const FLAGS = 1;
const COMMAND_ID = 2;
const NAMESPACE_ID = 4;
const PRP1 = 24;
const PRP2 = 32;
const DWORD10 = 40;

/** FLAGS: a fused operation, or data that scatter gather lists describe. The controller takes neither. */
const FLAGS_UNSUPPORTED = 0xc3;

/** A command on its way. It is read from guest memory once: what the guest does to its queue later has no effect. */
export class Command {
  opcode = 0;
  flags = 0;
  id = 0;
  namespace = 0;
  prp1 = 0n;
  prp2 = 0n;
  dword10 = 0;
  dword11 = 0;
  dword12 = 0;
  dword13 = 0;
  /** The submission queue that it came from. */
  queue = 0;
  /** Dword 0 of its completion. */
  result = 0;
  /** Its data. */
  readonly transfer: Transfer;

  constructor(guest: GuestMemory) {
    this.transfer = new Transfer(guest);
  }

  /** Takes the entry at `at`. */
  load(entries: DataView, at: number, queue: number): void {
    this.opcode = entries.getUint8(at + OPCODE);
    this.flags = entries.getUint8(at + FLAGS);
    this.id = entries.getUint16(at + COMMAND_ID, true);
    this.namespace = entries.getUint32(at + NAMESPACE_ID, true);
    this.prp1 = entries.getBigUint64(at + PRP1, true);
    this.prp2 = entries.getBigUint64(at + PRP2, true);
    this.dword10 = entries.getUint32(at + DWORD10, true);
    this.dword11 = entries.getUint32(at + DWORD10 + 4, true);
    this.dword12 = entries.getUint32(at + DWORD10 + 8, true);
    this.dword13 = entries.getUint32(at + DWORD10 + 12, true);
    this.queue = queue;
    this.result = 0;
  }

  /** An error for what no command may ask for. */
  check(): number {
    return (this.flags & FLAGS_UNSUPPORTED) === 0 ? Status.SUCCESS : Status.INVALID_FIELD;
  }
}
