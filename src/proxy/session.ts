import { Errno, type FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { encodeHeader, HEADER_SIZE, MessageType } from '../protocol/index.ts';
import { type RelayTap, type Side, Spin } from '../relay/index.ts';
import { type Closeable, HeldMessages, IncomingMessage, type Reactor } from '../transport/index.ts';
import type { Backend } from './backend.ts';
import type { ClientRecord } from './client-record.ts';
import { Link } from './link.ts';
import { Observer } from './observer.ts';
import { Unanswered, type UnansweredRequest } from './unanswered.ts';

/** A back end that has gone, and what it has left undone. */
export interface Loss {
  readonly path: string;
  readonly reason: string;
  /** When, in milliseconds since 1970. */
  readonly atMs: number;
  /** Requests that it had not answered and that the next one is asked. */
  readonly repeated: number;
  /** Requests that it had not answered and that were answered with EIO. */
  readonly failed: number;
}

/** What a session is made of. */
export interface SessionOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  /** The client's socket; the session's from now on. */
  readonly fd: number;
  /** Whether regions stay mappable, which rules out a swap. */
  readonly mmap: boolean;
  /** How long a client may wait for an answer while there is no back end, in milliseconds. */
  readonly holdLimitMs: number;
  readonly tap: RelayTap | null;
  /** How long to look for an answer on the other socket before going to sleep, in microseconds; 0 never does. */
  readonly spinMicroseconds: number;
  /** The client has gone. */
  readonly ended: (reason: FerryError) => void;
  /** The back end has gone; the client is kept. */
  readonly lost: (loss: Loss) => void;
}

/** How often it looks whether a client has waited too long, in milliseconds. */
const LOOK_MS = 50;
/** How long one session may keep the thread to itself while its messages follow each other, in milliseconds. */
const BUDGET_MS = 0.5;
/** poll(2): the peer has closed its end (poll.h). */
const POLLHUP = 0x10;

/**
 * One client of a proxy and its back end. Messages pass with their ids, in order; what another back end would have to be
 * told is recorded. The client's commands can be held while its back end is exchanged; replies pass all the same.
 */
export class Session {
  /** Posted writes that were dropped because there was no back end for too long. */
  droppedWrites = 0;
  readonly #options: SessionOptions;
  readonly #client: Link;
  readonly #observer: Observer;
  /** What the client has asked its back end. */
  readonly #toBackend = new Unanswered();
  /** What back ends have asked the client. */
  readonly #toClient = new Unanswered();
  readonly #held = new HeldMessages();
  readonly #replayed = new IncomingMessage();
  readonly #spin: Spin;
  #waiting: (() => void)[] = [];
  #clock: Closeable | null = null;
  #backend: Backend | null;
  /** Whose requests reach the client: the back end's, or those of the one that takes its place. */
  #asker: Backend | null;
  /** Answers are being looked for already. */
  #following = false;
  #frozen = false;
  #expired = false;
  #closed = false;

  constructor(options: SessionOptions, connect: (session: Session) => Backend) {
    this.#options = options;
    this.#spin = new Spin(options.spinMicroseconds);
    this.#observer = new Observer(options.native, options.mmap);
    this.#client = new Link({
      ...{ native: options.native, reactor: options.reactor, fd: options.fd },
      events: {
        message: (message) => this.#fromClient(message),
        handled: () => this.handled('client'),
        ended: (reason) => this.#ended(reason),
      },
    });
    try {
      this.#backend = connect(this);
      this.#asker = this.#backend;
    } catch (error) {
      this.#client.close();
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
    return this.#held.length;
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
    const polled = Int32Array.of(this.#options.fd, 0, 0);
    return (
      this.#closed || (this.#options.native.poll(polled, 1, 0) > 0 && ((polled[2] ?? 0) & POLLHUP) !== 0)
    );
  }

  /** From now on the client's commands wait. */
  freeze(): void {
    this.#frozen = true;
  }

  /** Commands go on, to whatever back end there is now. */
  thaw(): void {
    this.#frozen = false;
    this.#releaseHeld();
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
    this.#expired = false;
    this.#clock?.close();
    this.#clock = null;
  }

  /** Settles when something has been answered or has ended, or after `ms`. */
  change(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.reactor.after(ms, resolve);
      this.#waiting.push(() => {
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
      if (!message.noReply) this.#note(this.#toClient, message);
      this.#tap('server', message);
      this.#client.forward(message);
    }
  }

  /** The connection of a back end has ended. */
  backendEnded(backend: Backend, reason: FerryError): void {
    if (this.#asker === backend) this.#asker = null;
    if (backend === this.#backend && !this.#closed) {
      this.#backend = null;
      const counts = this.#takeBack();
      this.#clock ??= this.#options.reactor.every(LOOK_MS, () => this.#look());
      this.#options.lost({ path: backend.path, reason: reason.message, atMs: Date.now(), ...counts });
      this.flush();
    }
    this.#tell();
  }

  /** Sends what was put on the sockets; who does not take it stops the other. */
  flush(): void {
    this.#client.flush();
    this.#asker?.link.flush();
    const backend = this.#backend?.link;
    if (this.#held.full) this.#client.pause();
    if (backend === undefined) return;
    backend.flush();
    if (this.#client.backedUp) stopUntilDrained(backend, this.#client, () => backend.resume());
    if (backend.backedUp) stopUntilDrained(this.#client, backend, () => this.#readClient());
  }

  /** What has come from one side was passed on: it goes out, and what follows from it is looked for. */
  handled(from: Side): void {
    this.flush();
    if (!this.#following && !this.#frozen) this.#follow(from);
  }

  /** Ends the session with both connections. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#clock?.close();
    this.#client.close();
    this.#backend?.close();
    for (const { fds } of this.#held.takeAll()) for (const fd of fds) this.#options.native.close(fd);
    this.#observer.close();
    this.#tell();
  }

  /** Sleeping and being woken up costs more than a message does: answers, and what follows them, often come soon. */
  #follow(from: Side): void {
    const end = performance.now() + BUDGET_MS;
    this.#following = true;
    for (
      let next = this.#across(from);
      next !== null;
      next = this.#across(next === this.#client ? 'client' : 'server')
    ) {
      const link = next;
      const result = this.#spin.wait(() => link.look(), end);
      if (result === -Errno.EAGAIN) break;
      link.take(result);
    }
    this.#following = false;
  }

  /** Where something is to be expected when something has come from `from`. */
  #across(from: Side): Link | null {
    if (this.#closed || this.#frozen) return null;
    if (from === 'server') return this.#client;
    return this.#toBackend.count > 0 ? (this.#backend?.link ?? null) : null;
  }

  #ended(reason: FerryError): void {
    this.#options.tap?.ended('client', { kind: 'end of stream' }, performance.now());
    this.close();
    this.#options.ended(reason);
  }

  #fromClient(message: IncomingMessage): void {
    this.#tap('client', message);
    if (message.isReply) this.#replyOfClient(message);
    else if (this.#backend === null) this.#withoutBackend(message);
    else if (this.#frozen || this.#held.length > 0) this.#held.push(message, HEADER_SIZE);
    else this.#pass(this.#backend, message);
  }

  /** A reply to a back end that has gone meanwhile is nobody's. */
  #replyOfClient(message: IncomingMessage): void {
    if (!this.#toClient.answered(message.id)) return;
    this.#asker?.link.forward(message);
    if (this.#toClient.count === 0) this.#tell();
  }

  #pass(backend: Backend, message: IncomingMessage): void {
    const own = this.#observer.answer(message);
    if (own !== null) return this.#replyTo(message, own);
    const changed = this.#observer.request(message);
    if (!message.noReply) this.#note(this.#toBackend, message);
    if (changed === null) backend.link.forward(message);
    else backend.link.send(message, changed, message.takeFds());
  }

  #answer(message: IncomingMessage): void {
    const changed = this.#observer.reply(message);
    if (changed === null) {
      this.#tap('server', message);
      this.#client.forward(message);
    } else {
      this.#replyTo(message, changed);
    }
    if (this.#toBackend.count === 0) this.#tell();
  }

  #note(table: Unanswered, { id, command, bytes, start, end }: IncomingMessage): void {
    table.add(id, command, bytes, start - HEADER_SIZE, end);
  }

  #replyTo(
    { id, command, noReply }: Pick<IncomingMessage, 'id' | 'command' | 'noReply'>,
    payload: Uint8Array,
  ): void {
    if (noReply) return;
    const { tap } = this.#options;
    this.#client.reply({ id, command }, payload);
    if (tap === null) return;
    const size = HEADER_SIZE + payload.length;
    const header = encodeHeader({ messageId: id, command, size, flags: MessageType.REPLY, error: 0 });
    tap.passed('server', Buffer.concat([header, payload]), [], performance.now());
  }

  /** What is recorded is answered; the rest waits for the next back end, for a time. */
  #withoutBackend(message: IncomingMessage): void {
    const own = this.#observer.answer(message) ?? this.#observer.withoutBackend(message);
    if (own !== null) this.#replyTo(message, own);
    else if (this.#expired) this.#refuse(message);
    else this.#held.push(message, HEADER_SIZE);
  }

  #refuse(message: Pick<IncomingMessage, 'id' | 'command' | 'noReply'>): void {
    if (message.noReply) this.droppedWrites += 1;
    else this.#client.replyError(message, Errno.EIO);
  }

  /** What a back end that has gone has not answered comes before all that waits. */
  #takeBack(): { repeated: number; failed: number } {
    let repeated = 0;
    let failed = 0;
    for (const request of this.#toBackend.takeAll().reverse()) {
      const recorded = this.#observer.unanswered(request.id);
      if (recorded !== null) this.#replyTo({ ...request, noReply: false }, recorded);
      else if (this.#keep(request)) repeated += 1;
      else failed += 1;
    }
    return { repeated, failed };
  }

  #keep({ id, command, bytes }: UnansweredRequest): boolean {
    if (bytes === null) this.#client.replyError({ id, command }, Errno.EIO);
    else this.#held.unshift({ bytes, fds: [], since: performance.now(), owed: true });
    return bytes !== null;
  }

  #releaseHeld(): void {
    while (!this.#frozen && this.#backend !== null) {
      const held = this.#held.shift();
      if (held === undefined) break;
      const { bytes } = held;
      this.#replayed.point(bytes, new DataView(bytes.buffer), 0, bytes.length, held.fds);
      this.#pass(this.#backend, this.#replayed);
      for (const fd of this.#replayed.takeFds()) this.#options.native.close(fd);
    }
    this.#readClient();
  }

  #readClient(): void {
    if (!this.#held.full) this.#client.resume();
  }

  /** Nobody waits longer than a VMM does: what waits for a back end gets EIO. */
  #look(): void {
    const since = this.#held.owedSince;
    if (since === null || performance.now() - since <= this.#options.holdLimitMs) return;
    this.#expired = true;
    for (const { bytes, fds } of this.#held.takeAll()) {
      for (const fd of fds) this.#options.native.close(fd);
      this.#replayed.point(bytes, new DataView(bytes.buffer), 0, bytes.length, []);
      this.#refuse(this.#replayed);
    }
    this.#readClient();
    this.flush();
  }

  #tell(): void {
    for (const run of this.#waiting.splice(0)) run();
  }

  #tap(from: Side, { bytes, start, end, fds }: IncomingMessage): void {
    const { tap } = this.#options;
    if (tap === null) return;
    tap.passed(from, bytes.subarray(start - HEADER_SIZE, end), fds, performance.now());
  }
}

function stopUntilDrained(reader: Link, slow: Link, resume: () => void): void {
  reader.pause();
  slow.whenDrained(resume);
}
