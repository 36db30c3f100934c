import type { Role, ServerRemains } from '../server/index.ts';

/** A socket that listens, on its way to another process. */
export interface RemainingListener {
  readonly role: Role;
  readonly fd: number;
  /** Its file; null for one that somebody else has opened. */
  readonly path: string | null;
}

/** Everything that passes from one server process to the next, besides the state of the device. */
export interface HandoverRecord {
  readonly listeners: readonly RemainingListener[];
  readonly server: ServerRemains;
}
