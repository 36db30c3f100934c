import type { FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { MAX_VERSION_DATA_SIZE, MESSAGE_OVERHEAD } from '../protocol/index.ts';
import { Connection, connect, type Reactor } from '../transport/index.ts';
import { DmaResponder } from './dma-responder.ts';
import { MappedMemory } from './mapped-memory.ts';
import { Requester } from './requester.ts';

/** What a {@link Link} is made of. */
export interface LinkOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  readonly path: string;
  readonly timeoutMs: number;
  /** The max_data_xfer_size that we tell the server, in bytes. */
  readonly maxDataXferSize: number;
  /** Takes what no call is there to be told. */
  readonly report: (error: FerryError) => void;
}

/** The connections to one server: the socket that carries our requests, and its twin if there is one. */
export class Link {
  readonly native: Native;
  readonly reactor: Reactor;
  readonly path: string;
  readonly connection: Connection;
  readonly requester: Requester;
  /** What the device may reach by DMA messages. */
  readonly memory = new MappedMemory();
  /** Longest message in either direction, header included, in bytes. */
  readonly maxMessage: number;
  readonly #responder: DmaResponder;
  readonly #report: (error: FerryError) => void;
  #twin: Connection | null = null;
  #onClosed: ((reason: FerryError) => void)[] = [];

  /** Connects. Throws TransportError ERR_SOCKET with what it means. */
  constructor(options: LinkOptions) {
    const { native, reactor, path, timeoutMs } = options;
    this.native = native;
    this.reactor = reactor;
    this.path = path;
    this.maxMessage = Math.max(options.maxDataXferSize, MAX_VERSION_DATA_SIZE) + MESSAGE_OVERHEAD;
    this.#responder = new DmaResponder(this.memory, options.maxDataXferSize);
    this.#report = options.report;
    const fd = connect(native, path);
    this.connection = this.#open(fd, (reason) => this.#closed(reason));
    this.requester = new Requester({
      connection: this.connection,
      reactor,
      timeoutMs,
      maxMessage: this.maxMessage,
    });
  }

  /** The second socket for the server's commands, once there is one. */
  get twin(): Connection | null {
    return this.#twin;
  }

  /** Takes the second socket into use; it lives as long as the first. When the server closes it, both end. */
  addTwin(fd: number): void {
    this.#twin = this.#open(fd, (reason) => this.connection.close(reason));
  }

  /** Calls `run` once the connection is over, at once if it is already. */
  whenClosed(run: (reason: FerryError) => void): void {
    const { closedBecause } = this.connection;
    if (closedBecause === null) this.#onClosed.push(run);
    else run(closedBecause);
  }

  #open(fd: number, closed: (reason: FerryError) => void): Connection {
    const connection: Connection = new Connection({
      native: this.native,
      reactor: this.reactor,
      fd,
      maxMessage: this.maxMessage,
      handler: {
        command: (message) => {
          this.#responder.answer(connection, message);
          return true;
        },
        closed,
        report: this.#report,
      },
    });
    return connection;
  }

  #closed(reason: FerryError): void {
    this.#twin?.close(reason);
    for (const run of this.#onClosed.splice(0)) run(reason);
  }
}
