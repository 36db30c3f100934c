import type { FerryError } from '../errors/index.ts';
import { type Agreement, Command, commandName, MESSAGE_OVERHEAD } from '../protocol/index.ts';
import {
  Connection,
  type ConnectionMemory,
  type ConnectionRemains,
  connectionMemory,
  type IncomingMessage,
  type Reactor,
} from '../transport/index.ts';
import type { DeviceServer } from './device-server.ts';
import { handlerFor } from './handlers/index.ts';
import { ServerError } from './server-error.ts';

/** Which socket a connection came in on, and so what it may do (docs/ownership.md). */
export type Role = 'main' | 'control';

/** How long a new connection may take to say VERSION, in milliseconds. */
const HANDSHAKE_TIMEOUT_MS = 5_000;

/** One client of a served device. */
export class ServedConnection {
  readonly server: DeviceServer;
  readonly role: Role;
  readonly connection: Connection;
  /** What VERSION agreed on; null before. */
  agreed: Agreement | null = null;
  /** The other socket of a client that wants the server's commands there. */
  twin: Connection | null = null;
  /** Short reads go through it, so that a failing one leaves no half-made reply behind. */
  readonly scratch = new Uint8Array(64);
  readonly #handshake: { close(): void };
  #maxTransfer: number;

  /** `inherited`: what another process has left of the connection; it begins frozen then. `memory`: see {@link prepareMemory}. */
  constructor(
    server: DeviceServer,
    reactor: Reactor,
    fd: number,
    role: Role,
    inherited: ConnectionRemains | null = null,
    memory?: ConnectionMemory,
  ) {
    this.server = server;
    this.role = role;
    this.#maxTransfer = server.capabilities.maxDataXferSize;
    this.connection = new Connection({
      native: server.native,
      reactor,
      fd,
      maxMessage: maxMessageOf(server),
      handler: {
        command: (message) => this.#command(message),
        closed: (reason) => this.#closed(reason),
        report: (error) => server.report(error),
      },
      memory,
      ...(inherited === null ? {} : { inherited }),
    });
    this.#handshake = reactor.after(HANDSHAKE_TIMEOUT_MS, () => this.#handshakeExpired());
  }

  /** The most bytes that this client may send or ask for at once. */
  get maxTransfer(): number {
    return this.#maxTransfer;
  }

  /** The longest payload that this client may be answered, in bytes. */
  get maxReply(): number {
    return (
      Math.min(this.agreed?.send.maxDataXferSize ?? 0, this.server.capabilities.maxDataXferSize) +
      MESSAGE_OVERHEAD / 2
    );
  }

  /** VERSION went well: from now on commands are served. */
  welcome(agreed: Agreement): void {
    this.agreed = agreed;
    this.#maxTransfer = Math.min(agreed.receive.maxDataXferSize ?? this.#maxTransfer, this.#maxTransfer);
    this.#handshake.close();
    this.server.welcomed(this);
  }

  /** Another process goes on with the connection. */
  forget(): void {
    this.#handshake.close();
  }

  /** Closes after what was said has been sent. */
  dismiss(reason: FerryError): void {
    this.connection.hold();
    this.connection.whenDrained(() => this.connection.close(reason));
  }

  #command(message: IncomingMessage): boolean {
    if (this.agreed === null && message.command !== Command.VERSION) {
      const refusal = new ServerError('ERR_HANDSHAKE', 'the first command must be VERSION', {
        command: message.command,
      });
      this.connection.replyError(message, refusal.errno);
      this.dismiss(refusal);
      return true;
    }
    const { log } = this.server;
    if (log.debugs) log.debug(this.#told(message));
    try {
      return handlerFor(this.role, message.command)(this, message);
    } catch (error) {
      log.warning(() => `refused: ${this.#told(message)}: ${error instanceof Error ? error.message : error}`);
      throw error;
    }
  }

  #told({ command, id, length }: IncomingMessage): string {
    return `${this.role} ${commandName(command)}, message ${id}, ${length} bytes`;
  }

  #handshakeExpired(): void {
    this.connection.close(new ServerError('ERR_HANDSHAKE', 'the client did not say VERSION in time'));
  }

  #closed(reason: FerryError): void {
    this.#handshake.close();
    this.twin?.close(reason);
    if (this.agreed !== null)
      this.server.log.info(`the ${this.role} connection has ended: ${reason.message}`);
    this.server.left(this);
  }
}

/** The memory of a connection that will be served, for {@link ServedConnection}. */
export function prepareMemory(server: DeviceServer): ConnectionMemory {
  return connectionMemory(maxMessageOf(server));
}

function maxMessageOf({ capabilities }: DeviceServer): number {
  return capabilities.maxDataXferSize + MESSAGE_OVERHEAD;
}
