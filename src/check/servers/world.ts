import { setTimeout as delay } from 'node:timers/promises';
import { Errno, errnoName } from '../../errors/index.ts';
import type { Native } from '../../native/index.ts';
import { Command } from '../../protocol/index.ts';
import type { Exchange } from '../exchange.ts';
import { broken, given, inconclusive, notApplicable } from '../verdict.ts';
import { versionPayload } from '../wire/bytes.ts';
import { Patience } from '../wire/patience.ts';
import { Wire } from '../wire/wire.ts';
import { failed, worked } from './ask.ts';
import { type Facts, PROPOSAL } from './facts.ts';
import type { Instance, Launcher } from './instance.ts';
import { type KnownDevice, knownDevice } from './known-devices.ts';

/** What a {@link ServerWorld} is made of. */
export interface ServerWorldParts {
  readonly native: Native;
  readonly launcher: Launcher;
  readonly instance: Instance;
  readonly exchange: Exchange;
  /** Null: the server could not be asked what it is. */
  readonly facts: Facts | null;
  /** How long each wait may take, milliseconds. */
  readonly timeoutMs: number;
  /** From which what is random is made, so that it can be repeated. */
  readonly seed: number;
  /** How long a client that says nothing may keep others out, milliseconds. */
  readonly silenceMs: number;
  /** How much is repeated of what is repeated, as a share of the usual: 1. */
  readonly effort: number;
  /**
   * The server ends when its first client goes, which the specification allows (Client Disconnection), or accepts no other.
   */
  readonly oneClient: boolean;
  /** How reports call this server among several: empty for the only one. */
  readonly name: string;
}

/** How long is waited before a server is tried again that does not take a connection yet, milliseconds. */
const AGAIN_MS = 5;

/** A server that runs, for one rule: connections to it, and whatever has to be given back at the end. */
export class ServerWorld {
  readonly native: Native;
  readonly instance: Instance;
  readonly timeoutMs: number;
  readonly seed: number;
  readonly silenceMs: number;
  readonly #parts: ServerWorldParts;
  readonly #wires: Wire[] = [];
  readonly #fds: number[] = [];
  readonly #others: ServerWorld[] = [];

  constructor(parts: ServerWorldParts) {
    this.#parts = parts;
    this.native = parts.native;
    this.instance = parts.instance;
    this.timeoutMs = parts.timeoutMs;
    this.seed = parts.seed;
    this.silenceMs = parts.silenceMs;
  }

  /** What the server says of itself. */
  get facts(): Facts {
    return this.#parts.facts ?? inconclusive('the server could not be asked what it is');
  }

  /** What is known of the device, if it is one of those that several programs implement. */
  get known(): KnownDevice | null {
    return knownDevice(this.facts.identity);
  }

  /** Whether a connection has ended that this side did not close. */
  get lost(): boolean {
    return this.#wires.some(({ ended }) => ended !== null && ended !== 'it was closed here');
  }

  /** How often something is repeated that is usually repeated so often. */
  times(usual: number): number {
    return Math.max(1, Math.round(usual * this.#parts.effort));
  }

  /** A connection on which nothing has been said. */
  async connect(who: 'main' | 'control' = 'main'): Promise<Wire> {
    if (this.#parts.oneClient && this.#wires.length > 0)
      notApplicable('the server serves one client, and no other after it');
    const { instance, name } = this.#parts;
    const path = (who === 'control' ? instance.controlPath : null) ?? instance.socketPath;
    return this.wireOn(await this.#connected(path), name === '' ? who : `${name} ${who}`);
  }

  /** A connection over a socket that is connected already, which is the world's from then on. */
  wireOn(fd: number, channel: string): Wire {
    const { native, exchange, timeoutMs } = this.#parts;
    const wire = new Wire({ native, fd, channel, exchange, timeoutMs });
    this.#wires.push(wire);
    return wire;
  }

  /** A connection that has negotiated. That it can't is another rule's affair. */
  async open(proposal = PROPOSAL, who: 'main' | 'control' = 'main'): Promise<Wire> {
    const patience = new Patience(this.timeoutMs);
    for (;;) {
      const wire = await this.connect(who);
      const reply = await given('VERSION', () => wire.request(Command.VERSION, versionPayload(proposal)));
      if (!failed(reply)) return wire;
      wire.close();
      // A server of one client may not have seen yet that the one before has gone.
      if (reply.header.error !== Errno.EBUSY || patience.left === 0)
        await given('VERSION', () => worked(reply));
      await delay(AGAIN_MS);
    }
  }

  /** The connection on which the device is migrated: one to the control socket, or else the one given, or a new one. */
  async migrator(main: Wire | null = null): Promise<Wire> {
    if (this.instance.controlPath !== null) return this.open(PROPOSAL, 'control');
    return main ?? (await this.open());
  }

  /** Demands that the server takes a new connection and answers on it. The ones before have to be closed. */
  async stillServes(after: string): Promise<void> {
    if (this.#parts.oneClient) return this.#endedWell(after);
    const wire = await this.#reconnected(after);
    const reply = await wire.request(Command.VERSION, versionPayload(PROPOSAL));
    if (failed(reply) && reply.header.error !== Errno.EBUSY) worked(reply, `VERSION after ${after}`);
    wire.close();
  }

  /** Another server of the same kind, which ends with this world. */
  async second(): Promise<ServerWorld> {
    const instance = await this.#parts.launcher.launch();
    const other = new ServerWorld({ ...this.#parts, instance, name: 'second' });
    this.#others.push(other);
    return other;
  }

  /** Guest memory that can be shared. Closed with this world. */
  memfd(size: number): number {
    return this.keep(this.native.memfd('ferry-check', size, false), 'memfd_create');
  }

  /** An eventfd. Closed with this world. */
  eventfd(): number {
    return this.keep(this.native.eventfd(0), 'eventfd');
  }

  /** Closes an fd with this world; a negative one is an error of the system's. */
  keep(fd: number, what: string): number {
    if (fd < 0) inconclusive(`${what} failed with ${errnoName(-fd)}`);
    this.#fds.push(fd);
    return fd;
  }

  /** Closes every connection that is open. */
  closeWires(): void {
    for (const wire of this.#wires) wire.close();
  }

  /** Gives everything back. */
  async end(): Promise<void> {
    this.closeWires();
    for (const fd of this.#fds.splice(0)) this.native.close(fd);
    for (const other of this.#others.splice(0)) {
      await other.end();
      await other.instance.stop();
    }
  }

  /** A server of one client may end then, but not by a signal. */
  async #endedWell(after: string): Promise<void> {
    this.closeWires();
    const how = await this.instance.ended();
    if (how?.startsWith('SIG') === true)
      broken(`the server's process ended (${how}) after ${after}`, 'it to survive');
  }

  async #reconnected(after: string): Promise<Wire> {
    this.closeWires();
    const patience = new Patience(this.timeoutMs);
    for (;;) {
      const how = await this.#endedAtOnce();
      if (how !== null) broken(`the server's process ended (${how}) after ${after}`, 'it to survive');
      const fd = this.native.connect(this.instance.socketPath);
      if (fd >= 0) return this.wireOn(fd, 'main');
      if (patience.left === 0) {
        broken(`after ${after} nobody takes a connection any more (${errnoName(-fd)})`, 'it to survive');
      }
      await delay(AGAIN_MS);
    }
  }

  /** How the process has ended, without waiting where its pid tells that it runs. */
  #endedAtOnce(): Promise<string | null> {
    return this.instance.pid === null ? this.instance.ended() : Promise.resolve(null);
  }

  async #connected(path: string): Promise<number> {
    const patience = new Patience(this.timeoutMs);
    for (;;) {
      const fd = this.native.connect(path);
      if (fd >= 0) return fd;
      // The queue of a listener may be full, or the server may listen anew for each client.
      const passing = fd === -Errno.EAGAIN || fd === -Errno.ECONNREFUSED;
      const over = await this.#endedAtOnce();
      if (over !== null) inconclusive(`the server has ended (${over})${this.#quoted()}`);
      if (!passing || patience.left === 0)
        inconclusive(`${path} can't be connected to: ${whyNot(-fd)}${this.#advice(path)}`);
      await delay(AGAIN_MS);
    }
  }

  #advice(path: string): string {
    return this.#parts.launcher.fresh ? '' : `; more is told by: ferry doctor ${path}`;
  }

  #quoted(): string {
    const said = this.instance.takeLog().trim();
    return said === '' ? '' : `; it said: ${said}`;
  }
}

/** An errno of connect(2), with what it means for a socket of a server. */
function whyNot(errno: number): string {
  switch (errno) {
    case Errno.EAGAIN:
      return 'EAGAIN: somebody listens, but accepts nobody, and the queue is full';
    case Errno.ECONNREFUSED:
      return 'ECONNREFUSED: nobody listens, or it is no socket';
    case Errno.ENOENT:
      return 'ENOENT: there is nothing';
    case Errno.EACCES:
      return 'EACCES: this account may not use it';
    default:
      return errnoName(errno);
  }
}
