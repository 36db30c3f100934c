import { Errno, type ErrorContext, FerryError } from '../errors/index.ts';

/** What goes wrong with a VMM, with the errno of each. */
const kinds = {
  /** The monitor or the gdb stub can't be reached. */
  ERR_VM_CONNECT: Errno.ECONNREFUSED,
  /** It has closed the connection: mostly because the VMM has ended. */
  ERR_VM_GONE: Errno.EPIPE,
  /** It did not answer in time. */
  ERR_VM_TIMEOUT: Errno.ETIMEDOUT,
  /** What it sent is no QMP, or no gdb packet, or too long. */
  ERR_VM_PROTOCOL: Errno.EPROTO,
  /** It answered with an error. */
  ERR_VM_COMMAND: Errno.EIO,
  /** The VM, or one of its devices, can't be moved as it is. */
  ERR_VM_REFUSED: Errno.EOPNOTSUPP,
  /** The VMM's own migration failed. */
  ERR_VM_MIGRATION: Errno.EIO,
  /** An interrupt line stays asserted, and nothing clears it. */
  ERR_VM_INTX: Errno.EBUSY,
  /** What the other side sent of the VM is no record of one, or cut off. */
  ERR_VM_RECORD: Errno.EPROTO,
  /** The VM stands still between two QEMUs: the one before can't go on, and the other one does not run it yet. */
  ERR_VM_STRANDED: Errno.EIO,
  /** What only a process had that has ended is lost: the VM, or the state of a device. */
  ERR_VM_LOST: Errno.EIO,
  /** What was written at the destination does not read back. */
  ERR_VM_REPLAY: Errno.EIO,
} as const;

/** Stable codes of {@link VmError}. */
export type VmErrorCode = keyof typeof kinds;

/** Something failed while a VM was moved. */
export class VmError extends FerryError {
  declare readonly code: VmErrorCode;

  constructor(code: VmErrorCode, message: string, context: ErrorContext = {}, cause?: unknown) {
    super(code, message, { errno: kinds[code], context, cause });
  }
}
