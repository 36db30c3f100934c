import { rawMessage, u32At } from '../../../src/check/wire/bytes.ts';
import { Errno } from '../../../src/errors/index.ts';
import { loadNative, type WatchHandle } from '../../../src/native/index.ts';
import { cut, End, type Passing } from './proxied-end.ts';

export type { Passing } from './proxied-end.ts';

const native = loadNative();

/** What becomes of a message: it passes, other bytes pass in its place, or nothing does. */
export type Fate = Uint8Array | 'pass' | 'drop';

/** A server that errs. Each is called with what passes; what is left out passes as it is. */
export interface Faulty {
  /** A message of the client. */
  request?(message: Passing, link: Link): Fate;
  /** A reply of the server, with the request that it answers. */
  reply?(message: Passing, request: Passing, link: Link): Fate;
  /** A command of the server. */
  command?(message: Passing, link: Link): Fate;
  /** What one read of the client brought, before it is cut. */
  chunk?(bytes: Uint8Array, link: Link): void;
  /** A header whose size no message can have; true: nothing of it passes. */
  impossible?(header: Passing, link: Link): boolean;
  /** The client has gone. */
  left?(link: Link): void;
  /** The server has closed; true: the client does not learn of it. */
  serverLeft?(link: Link): boolean;
}

/** One client's connection through the proxy. */
export class Link {
  /** Commands of the client so far, in order. */
  readonly commands: number[] = [];
  /** Where a fault keeps what it has to remember of this connection. */
  readonly notes = new Map<string, number>();
  readonly proxy: FaultProxy;
  /** Bytes of a message of the client that is not whole. */
  pending: Uint8Array = new Uint8Array();
  /** Descriptors that came with it. */
  pendingFds = 0;
  readonly #client: End;
  readonly #server: End;
  readonly #requests: Passing[] = [];

  constructor(proxy: FaultProxy, client: number, server: number) {
    this.proxy = proxy;
    this.#client = new End(
      client,
      (bytes, fds) => this.#fromClient(bytes, fds),
      () => this.#clientLeft(),
    );
    this.#server = new End(
      server,
      (bytes, fds) => this.#fromServer(bytes, fds),
      () => this.#serverLeft(),
    );
  }

  /** The state of the device behind the proxy. */
  get state(): number {
    return this.proxy.state;
  }

  /** Remembers something. */
  note(name: string, value = 1): void {
    this.notes.set(name, value);
  }

  /** What was remembered; 0 when nothing was. */
  noted(name: string): number {
    return this.notes.get(name) ?? 0;
  }

  /** Counts something; returns how often, this time included. */
  count(name: string): number {
    const count = this.noted(name) + 1;
    this.note(name, count);
    return count;
  }

  /** Replies in place of the server. */
  answer({ id, command, flags }: Passing, payload: Uint8Array = new Uint8Array(), error = 0): 'drop' {
    const replyFlags = error === 0 ? 1 : 0x21;
    if ((flags & 0x10) === 0)
      this.#client.send(rawMessage(command, payload, { id, flags: replyFlags, error }), []);
    return 'drop';
  }

  /** Refuses in place of the server. */
  refuse(message: Passing, errno: number = Errno.EINVAL): 'drop' {
    return this.answer(message, new Uint8Array(), errno);
  }

  /** Says something to the client, whatever it is. */
  say(bytes: Uint8Array, fds: readonly number[] = []): void {
    this.#client.send(bytes, fds);
  }

  /** Passes a message of the client on later. It goes without being matched with its reply. */
  pass(bytes: Uint8Array): void {
    this.passWith(bytes, []);
  }

  /** Passes a message of the client on with other descriptors. */
  passWith(bytes: Uint8Array, fds: readonly number[]): void {
    this.#server.send(bytes, fds);
  }

  /** Ends the connection, as a server does that has had enough. */
  hangUp(): 'drop' {
    this.close();
    return 'drop';
  }

  close(): void {
    this.#client.close();
    this.#server.close();
    this.proxy.links.delete(this);
  }

  #clientLeft(): void {
    this.proxy.faulty.left?.(this);
    this.close();
  }

  #serverLeft(): void {
    if (this.proxy.faulty.serverLeft?.(this) !== true) this.close();
  }

  #fromClient(bytes: Uint8Array, fds: number[]): void {
    const { faulty } = this.proxy;
    faulty.chunk?.(bytes, this);
    this.pendingFds += fds.length;
    const rest = cut(
      this.#client,
      bytes,
      fds,
      (message) => this.#request(message),
      (header, all) => {
        if (faulty.impossible?.(header, this) !== true) this.#server.send(all, []);
      },
    );
    this.pending = Uint8Array.from(rest);
    if (rest.length === 0) this.pendingFds = 0;
  }

  #request(message: Passing): void {
    const { faulty } = this.proxy;
    if ((message.flags & 0xf) === 0) this.commands.push(message.command);
    const fate = faulty.request?.(message, this) ?? 'pass';
    if (fate === 'drop') return;
    if ((message.flags & 0x1f) === 0) this.#requests.push(message);
    this.#server.send(fate === 'pass' ? message.bytes : fate, message.fds);
  }

  #fromServer(bytes: Uint8Array, fds: number[]): void {
    const { faulty } = this.proxy;
    cut(
      this.#server,
      bytes,
      fds,
      (message) => {
        const fate =
          (message.flags & 0xf) === 1 ? this.#reply(message) : (faulty.command?.(message, this) ?? 'pass');
        if (fate !== 'drop') this.#client.send(fate === 'pass' ? message.bytes : fate, message.fds);
      },
      (_, all) => this.#client.send(all, []),
    );
  }

  #reply(message: Passing): Fate {
    const index = this.#requests.findIndex(({ id }) => id === message.id);
    const [request] = index < 0 ? [] : this.#requests.splice(index, 1);
    if (request === undefined) return 'pass';
    if ((message.flags & 0x20) === 0) this.proxy.note(request, message);
    return this.proxy.faulty.reply?.(message, request, this) ?? 'pass';
  }
}

/** Whether a message asks for a change of the migration state. */
export function isSetState({ command, payload }: Passing): boolean {
  return command === 16 && u32At(payload, 4) === 0x2_0002;
}

function isGetState({ command, payload }: Passing): boolean {
  return command === 16 && u32At(payload, 4) === 0x1_0002;
}

/** Stands in front of a server and errs in its place. */
export class FaultProxy {
  readonly links = new Set<Link>();
  readonly faulty: Faulty;
  /** The state that the last successful change has led to; RUNNING at first. */
  state = 2;
  /** What leaks; given back when the proxy closes. */
  readonly #leaked: number[] = [];
  readonly #listener: number;
  readonly #watch: WatchHandle;
  #open = true;

  constructor(listenAt: string, server: string, faulty: Faulty) {
    this.faulty = faulty;
    this.#listener = native.listen(listenAt, 0o600, 64);
    const watch = native.watchStart(this.#listener, () => {
      const client = native.accept(this.#listener);
      if (client < 0) return;
      const onward = native.connect(server);
      if (onward < 0) native.close(client);
      else this.links.add(new Link(this, client, onward));
    });
    if (typeof watch === 'number') throw new Error(`watch: ${watch}`);
    this.#watch = watch;
  }

  /** A command has worked: what it tells of the state. */
  note(request: Passing, { payload }: Passing): void {
    if (isSetState(request)) this.state = u32At(request.payload, 8);
    if (request.command === 13) this.state = 2;
    if (isGetState(request)) this.state = u32At(payload, 8);
  }

  /** Leaks a descriptor. */
  leak(): 'pass' {
    this.keep(native.eventfd(0));
    return 'pass';
  }

  /** Keeps a descriptor open until the proxy closes. */
  keep(fd: number): void {
    this.#leaked.push(fd);
  }

  /** Whether nobody listens any more. */
  get crashed(): boolean {
    return !this.#open;
  }

  /** Does as a server that crashes: everything is closed, and nobody listens any more. */
  crash(): 'drop' {
    if (this.#open) {
      this.#open = false;
      native.watchClose(this.#watch);
      native.close(this.#listener);
    }
    for (const link of [...this.links]) link.close();
    return 'drop';
  }

  close(): void {
    this.crash();
    for (const fd of this.#leaked.splice(0)) native.close(fd);
  }
}
