import type { Channel, Message, MessageKind } from '../../channel/index.ts';
import { messageOf, StepError } from '../step-error.ts';

/** What makes up what was received; the rest is conversation. */
const KEPT: ReadonlySet<MessageKind> = new Set<MessageKind>([
  'MANIFEST',
  'DATA',
  'CONFIG',
  'ACTIONS',
  'MEMORY',
  'ZERO',
  'COMPLETE',
]);

/**
 * Keeps what a receiver is given besides its devices, until it runs: what a device loses before that can be loaded
 * again. With null nothing is kept.
 */
export class Keeper {
  readonly #file: Channel | null;
  readonly #failed: (error: StepError) => void;
  #isOpen: boolean;

  /** `file` is from `saveTo`. `failed` is called as soon as it can't be written. */
  constructor(file: Channel | null, failed: (error: StepError) => void) {
    this.#file = file;
    this.#failed = failed;
    this.#isOpen = file !== null;
  }

  /** Keeps a message, if it is one of those. A promise: wait for room before the next. */
  keep(message: Message, body: Uint8Array): Promise<void> | null {
    if (!this.#isOpen || this.#file === null || !KEPT.has(message.kind)) return null;
    try {
      return this.#file.send(message, body);
    } catch (error) {
      this.#isOpen = false;
      this.#failed(notKept(error));
      return null;
    }
  }

  /** Makes it last. Rejects with StepError when it does not. */
  async finish(): Promise<void> {
    if (this.#file === null) return;
    this.#isOpen = false;
    const { error } = await this.#file.close();
    if (error !== null) throw notKept(error);
  }

  /** Nothing is to be kept of what has not been made to last. */
  discard(): void {
    if (this.#isOpen) this.#file?.abort('the migration has ended');
    this.#isOpen = false;
  }
}

function notKept(cause: unknown): StepError {
  const message = `what was received can't be kept: ${messageOf(cause)}`;
  return new StepError('ERR_STEP_FAILED', 'destination', message, cause);
}
