import type { DeviceServer, ServedConnection } from '../server/index.ts';
import { MigrationFlag, MigrationState } from '../states/index.ts';
import { Kind } from './layout.ts';
import type { HandoverLink } from './link.ts';
import type { Outgoing } from './outgoing.ts';

/** How often what has changed is sent before the device is stopped. */
const MAX_PASSES = 4;
/** So much of the state is asked for at a time, in bytes. */
const CHUNK = 256 * 1024;

/** What the copy of a state works with. */
export interface StateCopyParts {
  readonly server: DeviceServer;
  readonly by: ServedConnection;
  readonly link: HandoverLink;
  readonly outgoing: Outgoing;
  /** The most bytes of a message. */
  readonly maxBody: number;
  /** Whether it is still to be copied. */
  readonly wanted: () => boolean;
  /** The other process has to answer in time from now on. */
  readonly awaiting: () => void;
}

/** The state of the device on its way: most of it while the device runs, the rest when it has stopped. */
export class StateCopy {
  readonly #parts: StateCopyParts;
  readonly #buffer: Uint8Array;
  #sent = 0;

  constructor(parts: StateCopyParts) {
    this.#parts = parts;
    this.#buffer = new Uint8Array(Math.min(CHUNK, parts.maxBody));
  }

  /** Bytes of the state so far, with those that {@link rest} has returned. */
  get sent(): number {
    return this.#sent;
  }

  /** Sends the state, then what changed meanwhile, until that is little or does not become less. */
  async whileRunning(): Promise<void> {
    const { server, by, outgoing, wanted } = this.#parts;
    if ((server.device.migration.flags & MigrationFlag.PRE_COPY) === 0) return;
    await server.setState(MigrationState.PRE_COPY, by);
    // What the guest changes while the first pass goes on is less, and so on; a guest that is faster is stopped anyhow.
    for (let pass = 0; pass < MAX_PASSES && wanted(); pass += 1) {
      const before = this.#sent;
      await this.#pass();
      await outgoing.takenIn();
      if (this.#sent - before < CHUNK) return;
    }
  }

  /** What is left of the state of a device that has stopped. */
  rest(): readonly Uint8Array[] {
    const pieces: Uint8Array[] = [];
    for (let count = this.#read(); count > 0; count = this.#read()) pieces.push(this.#buffer.slice(0, count));
    return pieces;
  }

  /** Sends the state, or what has changed of it, until there is nothing more now. */
  async #pass(): Promise<void> {
    const { server, by, link, wanted, awaiting } = this.#parts;
    const enough = this.#sent + Number(server.migration.dataSize(by)) + CHUNK;
    while (wanted() && this.#sent < enough) {
      awaiting();
      const count = this.#read();
      if (count > 0) link.send(Kind.DATA, this.#buffer.subarray(0, count));
      await link.drained();
      if (count < this.#buffer.length) return;
    }
  }

  #read(): number {
    const count = this.#parts.server.migration.read(this.#buffer, this.#parts.by);
    this.#sent += count;
    return count;
  }
}
