import { Errno, type FerryError } from '../errors/index.ts';
import { HEADER_SIZE } from '../protocol/index.ts';
import { Spin } from '../relay/index.ts';
import type { IncomingMessage } from '../transport/index.ts';
import type { Backend } from './backend.ts';
import type { ClientRecord } from './client-record.ts';
import { ClientSide } from './client-side.ts';
import { Follower } from './follower.ts';
import type { Link } from './link.ts';
import { Observer } from './observer.ts';
import { isOwnMigration } from './own-migration.ts';
import type { SessionOptions } from './session-options.ts';
import { Unanswered } from './unanswered.ts';
import { WaitingCommands } from './waiting-commands.ts';
import { WithoutBackend } from './without-backend.ts';

/**
 * One client of a proxy and its back end. Messages pass with their ids, in order; what another back end would have to be
 * told is recorded. The client's commands can be held while its back end is exchanged; replies pass all the same.
 */
export class Session {
  readonly #options: SessionOptions;
  readonly #client: ClientSide;
  readonly #observer: Observer;
  /** What the client has asked its back end. */
  readonly #toBackend = new Unanswered();
  /** What back ends have asked the client. */
  readonly #toClient = new Unanswered();
  readonly #waiting: WaitingCommands;
  readonly #without: WithoutBackend;
  readonly #follower: Follower;
  #watchers: (() => void)[] = [];
  #backend: Backend | null;
  /** Whose requests reach the client: the back end's, or those of the one that takes its place. */
  #asker: Backend | null;
  #frozen = false;
  #migrationReserved = false;
  #closed = false;

  constructor(options: SessionOptions, connect: (session: Session) => Backend) {
    const { native, reactor, fd, tap, holdLimitMs, mmap } = options;
    this.#options = options;
    this.#follower = new Follower(new Spin(options.spinMicroseconds), (link) => this.#across(link));
    this.#observer = new Observer(native, mmap);
    this.#waiting = new WaitingCommands({ native, reactor, limitMs: holdLimitMs });
    this.#client = new ClientSide({
      ...{ native, reactor, fd, tap },
      message: (message) => this.#fromClient(message),
      handled: () => this.#handled(this.#client.link),
      ended: (reason) => {
        this.close();
        options.ended(reason);
      },
    });
    this.#without = new WithoutBackend(this.#client, this.#observer, this.#waiting);
    try {
      this.#backend = connect(this);
      this.#asker = this.#backend;
    } catch (error) {
      this.#client.link.close();
      throw error;
    }
  }

  /** What another back end would have to be told. */
  get record(): ClientRecord {
    return this.#observer.record;
  }

  /** Where the client's commands go; null: the back end has gone. */
  get backend(): Backend | null {
    return this.#backend;
  }

  /** Whether it is over. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Commands of the client that wait. */
  get heldCommands(): number {
    return this.#waiting.length;
  }

  /** Posted writes of the client that were dropped for want of a back end. */
  get droppedWrites(): number {
    return this.#without.droppedWrites;
  }

  /** Requests of the client that its back end has not answered. */
  get unansweredByBackend(): number {
    return this.#toBackend.count;
  }

  /** Requests of back ends that the client has not answered. */
  get unansweredByClient(): number {
    return this.#toClient.count;
  }

  /** Whether the client has closed its end, which is noticed late when it is not read. */
  get hungUp(): boolean {
    return this.#closed || this.#client.link.hungUp;
  }

  /** A message id for a request of the proxy's own, see {@link Unanswered.freeId}. */
  freeId(isTaken: (id: number) => boolean): number {
    return this.#toBackend.freeId(isTaken);
  }

  /** Whether the client is told EBUSY when it begins to migrate the device itself, which the proxy does meanwhile. */
  reserveMigration(reserved: boolean): void {
    this.#migrationReserved = reserved;
  }

  /** From now on the client's commands wait. */
  freeze(): void {
    this.#frozen = true;
  }

  /** Commands go on, to whatever back end there is now. */
  thaw(): void {
    this.#frozen = false;
    this.#release();
    this.flush();
  }

  /** From now on the requests of `backend` reach the client, and nobody else's. */
  admit(backend: Backend | null): void {
    this.#asker = backend;
  }

  /** `backend` takes the place of the present one, whose connection is the caller's to close. */
  replaceBackend(backend: Backend): void {
    this.#backend = backend;
    this.#asker = backend;
    this.#without.end();
  }

  /** Settles when something has been answered or has ended, or after `ms`. */
  change(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.reactor.after(ms, resolve);
      this.#watchers.push(() => {
        timer.close();
        resolve();
      });
    });
  }

  /** What comes from a back end that the proxy has not asked for itself. */
  fromBackend(from: Backend, message: IncomingMessage): void {
    if (message.isReply) {
      if (from === this.#backend && this.#toBackend.answered(message.id)) this.#answer(message);
    } else if (from !== this.#asker) {
      from.link.replyError(message, Errno.EBUSY);
    } else {
      if (!message.noReply) note(this.#toClient, message);
      this.#client.forward(message);
    }
  }

  /** All that had arrived from a back end was handled. */
  backendHandled(backend: Backend): void {
    if (this.#waiting.length > 0 && !this.#frozen) this.#release();
    this.#handled(backend.link);
  }

  /** The connection of a back end has ended. */
  backendEnded(backend: Backend, reason: FerryError): void {
    if (this.#asker === backend) this.#asker = null;
    if (backend === this.#backend && !this.#closed) {
      this.#backend = null;
      const counts = this.#without.begin(this.#toBackend, () => {
        this.#readClient();
        this.flush();
      });
      this.#options.lost({ path: backend.path, reason: reason.message, atMs: Date.now(), ...counts });
      this.flush();
    }
    this.#tell();
  }

  /** Sends what was put on the sockets; who does not take it stops the other. */
  flush(): void {
    const client = this.#client.link;
    client.flush();
    if (this.#asker !== this.#backend) this.#asker?.link.flush();
    const backend = this.#backend?.link;
    if (this.#waiting.full) client.pause();
    if (backend === undefined) return;
    backend.flush();
    if (client.backedUp) stopUntilDrained(backend, client, () => backend.resume());
    if (backend.backedUp) stopUntilDrained(client, backend, () => this.#readClient());
  }

  /** Ends the session with both connections. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#waiting.unwatch();
    this.#client.link.close();
    this.#backend?.close();
    this.#waiting.giveUp(() => {});
    this.#observer.close();
    this.#tell();
  }

  /** What has come from one side was passed on: it goes out, and what follows from it is looked for. */
  #handled(link: Link): void {
    this.flush();
    if (!this.#frozen) this.#follower.follow(link);
  }

  /** Where something is to be expected when something has come from `link`. */
  #across(link: Link): Link | null {
    if (this.#closed || this.#frozen) return null;
    if (link !== this.#client.link) return this.#client.link;
    return this.#toBackend.count > 0 ? (this.#backend?.link ?? null) : null;
  }

  #fromClient(message: IncomingMessage): void {
    if (message.isReply) this.#replyOfClient(message);
    else if (this.#backend === null) this.#without.take(message);
    else if (this.#waiting.length > 0 || !this.#passes(this.#backend, message)) this.#waiting.push(message);
  }

  /** A reply to a back end that has gone meanwhile is nobody's. */
  #replyOfClient(message: IncomingMessage): void {
    if (!this.#toClient.answered(message.id)) return;
    this.#asker?.link.forward(message);
    if (this.#toClient.count === 0) this.#tell();
  }

  /** Passes a command on, unless it has to wait: then false. */
  #passes(backend: Backend, message: IncomingMessage): boolean {
    if (this.#frozen || backend.uses(message.id)) return false;
    if (this.#migrationReserved && isOwnMigration(message)) {
      this.#client.refuse(message, Errno.EBUSY);
      return true;
    }
    const own = this.#observer.answer(message);
    if (own !== null) {
      this.#client.reply(message, own);
      return true;
    }
    const changed = this.#observer.request(message);
    if (!message.noReply) note(this.#toBackend, message);
    if (changed === null) backend.link.forward(message);
    else backend.link.send(message, changed, message.takeFds());
    return true;
  }

  #answer(message: IncomingMessage): void {
    const changed = this.#observer.reply(message);
    if (changed === null) this.#client.forward(message);
    else this.#client.reply({ id: message.id, command: message.command, noReply: false }, changed);
    if (this.#toBackend.count === 0) this.#tell();
  }

  #release(): void {
    this.#waiting.release((message) => this.#backend !== null && this.#passes(this.#backend, message));
    this.#readClient();
  }

  #readClient(): void {
    if (!this.#waiting.full) this.#client.link.resume();
  }

  #tell(): void {
    if (this.#watchers.length === 0) return;
    for (const run of this.#watchers.splice(0)) run();
  }
}

function note(table: Unanswered, { id, command, bytes, start, end }: IncomingMessage): void {
  table.add(id, command, bytes, start - HEADER_SIZE, end);
}

function stopUntilDrained(reader: Link, slow: Link, resume: () => void): void {
  reader.pause();
  slow.whenDrained(resume);
}
