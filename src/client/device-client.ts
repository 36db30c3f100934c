import type { FerryError } from '../errors/index.ts';
import { loadNative } from '../native/index.ts';
import { EventLoopReactor } from '../transport/index.ts';
import type { ClientOptions } from './client-options.ts';
import { DeviceBase } from './device-base.ts';
import type { InterruptListener } from './irq-eventfds.ts';
import type { Operation, Settle } from './operation.ts';
import { runOperation } from './run-operation.ts';
import { openLink, openSession, type Session } from './session.ts';

/**
 * A device as a VMM or a migration controller sees it, on Node's event loop: every method gives a promise, and several
 * may be under way; the server gets them in the order of the calls.
 */
export class DeviceClient extends DeviceBase<'async'> {
  /** Settles with the reason when the connection is over, whoever ended it. Never rejects. */
  readonly closed: Promise<FerryError>;

  private constructor(session: Session) {
    super(session);
    this.closed = new Promise((resolve) => session.link.whenClosed(resolve));
  }

  /**
   * Connects to a server and settles VERSION with it. Rejects with a TransportError: nobody listens, no reply in time,
   * the server hung up; with a RemoteError or ProtocolError: there is no common ground.
   */
  static async connect(path: string, options: ClientOptions = {}): Promise<DeviceClient> {
    const native = options.native ?? loadNative();
    const link = openLink(path, options, native, options.reactor ?? new EventLoopReactor(native));
    try {
      const session = await promised<Session>((settle) =>
        runOperation(openSession(link, options), link.requester, settle),
      );
      return new DeviceClient(session);
    } catch (error) {
      link.connection.close();
      throw error;
    }
  }

  /**
   * Enables the first `count` vectors of an index: `listener` is called for each interrupt. Those that the index had
   * before are given up.
   */
  enableInterrupts(index: number, count: number, listener: InterruptListener): Promise<void> {
    return this.run(this.#enableInterrupts(index, count, listener));
  }

  *#enableInterrupts(index: number, count: number, listener: InterruptListener): Operation<void> {
    yield* this.giveEventfds(index, count);
    this.eventfds.watch(index, this.session.link.reactor, listener);
  }

  protected override answer<T>(start: (settle: Settle<T>) => void): Promise<T> {
    return promised(start);
  }
}

function promised<T>(start: (settle: Settle<T>) => void): Promise<T> {
  return new Promise<T>((resolve, reject) => start({ resolve, reject }));
}
