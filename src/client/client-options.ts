import type { FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import type { Capabilities } from '../protocol/index.ts';
import type { Reactor } from '../transport/index.ts';
import type { GuestMemory } from './guest-memory.ts';

/** How a client connects and behaves. `R` is the kind of reactor that it waits on. */
export interface ClientOptions<R extends Reactor = Reactor> {
  /** The system calls; the addon of this package by default. */
  readonly native?: Native;
  /** Who waits for the sockets; a reactor of the client's own by default. */
  readonly reactor?: R;
  /** How long to wait for each reply, in milliseconds; 5000 by default, as QEMU does. */
  readonly timeoutMs?: number;
  /** What to propose in VERSION, laid over what this version supports. */
  readonly capabilities?: Capabilities;
  /**
   * Asks for a second socket for the DMA messages of the server. Needed with libvfio-user when memory is given without
   * an fd: it can't tell a request of ours from the reply that it waits for. Costs a synchronous client two system
   * calls per register access. False by default.
   */
  readonly twinSocket?: boolean;
  /** Guest memory that is mapped right after the connection is made. The caller keeps it, and frees it. */
  readonly memory?: GuestMemory;
  /**
   * The largest payload of one message to the server, in bytes. By default what was agreed in VERSION; but 32 KiB for
   * a server that is not Ferry, because libvfio-user loses track of the stream when one message does not fit into one
   * buffer of the kernel (its issue 306).
   */
  readonly maxWrite?: number;
  /** Takes what no call is there to be told, such as a reply that came after its time-out. Ignored by default. */
  readonly report?: (error: FerryError) => void;
}

/** How long a client waits for a reply unless told otherwise, in milliseconds (QEMU's x-msg-timeout). */
export const DEFAULT_TIMEOUT_MS = 5000;
