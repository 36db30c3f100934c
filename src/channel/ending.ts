import type { ChannelEnd } from './channel.ts';
import type { ChannelError } from './channel-error.ts';

/** How a channel has ended, once. */
export class Ending {
  readonly promise: Promise<ChannelEnd>;
  #end: ChannelEnd | null = null;
  #resolve: (end: ChannelEnd) => void = () => {};

  constructor() {
    this.promise = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  /** Null while the channel lives. */
  get end(): ChannelEnd | null {
    return this.#end;
  }

  /** Ends it, with an error or in order; false when it had ended before. */
  settle(error: ChannelError | null): boolean {
    if (this.#end !== null) return false;
    this.#end = error === null ? { reason: 'closed', error } : { reason: 'failed', error };
    this.#resolve(this.#end);
    return true;
  }
}
