import type { Native } from '../../src/native/index.ts';
import {
  type Closeable,
  DedicatedReactor,
  type SocketBuffers,
  type SocketEvents,
} from '../../src/transport/index.ts';

interface Timer extends Closeable {
  readonly at: number;
  readonly run: () => void;
}

/** After so many looks at which nothing happened, nothing ever will. */
const HUNG = 100;

/**
 * A thread's own reactor that never waits: the other end, which is in the same thread, has its turn before each look,
 * and time passes only when nobody has anything to say. So clients can be tried at the speed of the processor.
 */
export class TurnReactor extends DedicatedReactor {
  readonly #otherEnd: () => boolean;
  #timers: Timer[] = [];
  #now = 0;
  #heard = false;
  #idle = 0;

  /** `otherEnd` does what there is to do, and says whether it has sent anything. */
  constructor(native: Native, otherEnd: () => boolean) {
    super(native);
    this.#otherEnd = otherEnd;
  }

  override open(fd: number, buffers: SocketBuffers, events: SocketEvents) {
    return super.open(fd, buffers, {
      received: (result) => {
        this.#heard = true;
        events.received(result);
      },
      writable: () => events.writable(),
    });
  }

  override after(ms: number, run: () => void): Closeable {
    const timer: Timer = {
      ...{ at: this.#now + ms, run },
      close: () => {
        this.#timers = this.#timers.filter((each) => each !== timer);
      },
    };
    this.#timers.push(timer);
    return timer;
  }

  /** One look; says whether anything has happened. */
  step(): boolean {
    this.#heard = false;
    const acted = this.#otherEnd();
    super.runOnce(0);
    if (acted || this.#heard) this.#idle = 0;
    return acted || this.#heard;
  }

  /** Lets time pass to the next timer. Throws when none is left although somebody waits. */
  expire(): void {
    const next = this.#timers.reduce<Timer | null>((a, b) => (a === null || b.at < a.at ? b : a), null);
    if (next === null) {
      this.#idle += 1;
      if (this.#idle > HUNG) throw new Error('the client hangs: it waits for nothing that could come');
      return;
    }
    this.#now = next.at;
    next.close();
    next.run();
  }

  override runOnce(): void {
    if (!this.step()) this.expire();
  }
}
