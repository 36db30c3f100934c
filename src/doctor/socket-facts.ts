import type { DeviceDescription } from '../client/index.ts';
import type { Caller, FileFacts } from './file-facts.ts';
import type { ProcessFacts } from './process-facts.ts';
import type { QemuFacts } from './qemu-command-line.ts';

/** What is known of a vfio-user socket. */
export interface SocketFacts {
  /** As it was named. */
  readonly path: string;
  readonly file: FileFacts;
  /** The first folder of the path that is not there; null when all are. */
  readonly missingFolder: string | null;
  readonly caller: Caller;
  /** It is the control socket of a Ferry server that was named, not the VMM's. */
  readonly isControl: boolean;
  /** The control socket beside the one that was named, or that itself; null: there is none. */
  readonly control: FileFacts | null;
  /** Somebody listens, by /proc/net/unix; null: it can't be told. */
  readonly listening: boolean | null;
  /** Clients of the main socket that the server has accepted, by /proc/net/unix; null: it can't be told. */
  readonly clients: number | null;
  /** Connections to the socket that is talked to, and that nobody has accepted; null: it can't be told. */
  readonly waiting: number | null;
  /** Who listens; null: nobody, or it can't be told. */
  readonly server: ProcessFacts | null;
  readonly conversation: Conversation;
}

/** What came of talking to the server. */
export type Conversation =
  | { readonly kind: 'none'; readonly why: string }
  | Failed
  | { readonly kind: 'answered'; readonly device: DeviceFacts };

/** The server did not answer as it should. */
export interface Failed {
  readonly kind: 'failed';
  /** The code of a FerryError. */
  readonly code: string;
  readonly errno: number;
  readonly message: string;
  /** VERSION had been settled before. */
  readonly greeted: boolean;
}

/** What a server said of its device. */
export interface DeviceFacts {
  readonly greeting: Greeting;
  readonly description: DeviceDescription;
  /** The server can log the device's DMA writes; null: not asked. */
  readonly logsDma: boolean | null;
  /** The VMM on the main socket; null: none, or it can't be told who. */
  readonly vmm: ProcessFacts | null;
  /** Its command line, when it is QEMU's. */
  readonly qemu: QemuFacts | null;
}

/** The reply to VERSION as it came. */
export interface Greeting {
  /** The whole message, in bytes. */
  readonly bytes: number;
  /** `capabilities` of its JSON, unchecked; undefined when there are none. */
  readonly capabilities: unknown;
}

/** So many connections, for people. */
export const connectionsText = (count: number): string =>
  count === 1 ? '1 connection' : `${count} connections`;

/** The device, once the server has answered. */
export function deviceOf({ conversation }: SocketFacts): DeviceFacts | null {
  return conversation.kind === 'answered' ? conversation.device : null;
}

/** The failure, when the server has not answered. */
export function failureOf({ conversation }: SocketFacts): Failed | null {
  return conversation.kind === 'failed' ? conversation : null;
}
