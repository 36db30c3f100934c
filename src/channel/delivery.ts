import type { MessageHandler } from './channel.ts';
import type { Message } from './messages.ts';

/** What {@link Delivery} tells its owner. */
export interface DeliveryEvents {
  /** The handler is there and free: the next message can be delivered. */
  ready(): void;
  /** The handler threw, or its promise was rejected. */
  failed(error: unknown): void;
}

/** Hands messages to the handler one after the other. Makes no promise and allocates nothing for a synchronous handler. */
export class Delivery {
  readonly #events: DeliveryEvents;
  #handler: MessageHandler | null = null;
  #calling = false;
  #waiting = false;

  constructor(events: DeliveryEvents) {
    this.#events = events;
  }

  /** Whether a message can be delivered now. */
  get ready(): boolean {
    return this.#handler !== null && !this.#calling && !this.#waiting;
  }

  /** Whether the handler has a message that it is not done with. */
  get busy(): boolean {
    return this.#calling || this.#waiting;
  }

  /** Sets the handler. What waits for it is delivered soon, not within this call. */
  set(handler: MessageHandler): void {
    this.#handler = handler;
    queueMicrotask(() => {
      if (this.ready) this.#events.ready();
    });
  }

  /** Calls the handler; only when {@link ready}. */
  deliver(message: Message, body: Uint8Array): void {
    if (this.#handler === null) return;
    this.#calling = true;
    let answer: void | Promise<void>;
    try {
      answer = this.#handler(message, body);
    } catch (error) {
      this.#calling = false;
      return this.#events.failed(error);
    }
    this.#calling = false;
    if (answer === undefined) return;
    this.#waiting = true;
    answer.then(
      () => {
        this.#waiting = false;
        this.#events.ready();
      },
      (error) => {
        this.#waiting = false;
        this.#events.failed(error);
      },
    );
  }
}
