import { Command } from '../protocol/index.ts';
import type { Backend } from './backend.ts';
import type { IrqTable } from './irq-table.ts';

/** Tells a back end what a client has set up of interrupts, and anew if that has changed. */
export class IrqReplay {
  readonly #table: IrqTable;
  readonly #backend: Backend;
  #told: number | null = null;

  constructor(table: IrqTable, backend: Backend) {
    this.#table = table;
    this.#backend = backend;
  }

  /** The back end gets to know what is set up now. `maxFds`: so many go into one message. @throws ProxyError */
  async catchUp(maxFds: number): Promise<void> {
    const { revision } = this.#table;
    if (this.#told === revision) return;
    const disables = this.#told === null ? [] : this.#table.disables();
    this.#told = revision;
    // A server handles what it is asked in order, so nobody waits for one answer before the next request.
    await Promise.all(
      [...disables, ...this.#table.replays(maxFds)].map(({ payload, fds }) =>
        this.#backend.require(Command.DEVICE_SET_IRQS, payload, fds),
      ),
    );
  }
}
