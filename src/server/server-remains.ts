import type { ClientSide, DeviceHandover } from '../device/index.ts';
import type { DmaMap } from '../memory/index.ts';
import type { Agreement } from '../protocol/index.ts';
import type { ConnectionRemains } from '../transport/index.ts';
import type { ClaimHistory } from './claims.ts';
import type { GivenBells } from './doorbells.ts';
import type { OnReconnect } from './reconnection.ts';
import type { Role } from './served-connection.ts';

/** A socket and what is left of the connection on it. */
export interface RemainingLink {
  readonly fd: number;
  readonly link: ConnectionRemains;
}

/** A connection of a served device. */
export interface RemainingConnection extends RemainingLink {
  readonly role: Role;
  /** What VERSION has agreed on; null when it has not been said. */
  readonly agreed: Agreement | null;
  readonly twin: RemainingLink | null;
  /** Its claim was taken over by another. */
  readonly late: boolean;
  /** A reset has ended its session, and it has not noticed. */
  readonly aborted: boolean;
}

/** What the client has set for an interrupt index, with an eventfd or null for each vector. */
export interface RemainingInterrupts extends ClientSide {
  readonly eventfds: readonly (number | null)[];
}

/** Is told of fds that have found their owner. */
export type Owned = (fds: readonly (number | null)[]) => void;

/**
 * Everything that a server knows and that is not in the state of its device: what another process needs to go on without
 * its clients noticing. The fds belong to whoever is served.
 */
export interface ServerRemains {
  readonly connections: readonly RemainingConnection[];
  /** Several maps may have the same fd. */
  readonly maps: readonly DmaMap[];
  readonly interrupts: readonly RemainingInterrupts[];
  readonly doorbells: readonly GivenBells[];
  readonly instance: bigint;
  readonly resets: number;
  readonly claims: ClaimHistory;
  readonly onReconnect: OnReconnect;
  readonly device: ReturnType<DeviceHandover['give']>;
}
