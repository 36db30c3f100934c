import { Errno, FerryError } from '../errors/index.ts';
import { check } from '../native/index.ts';
import {
  negotiate,
  OUR_CAPABILITIES,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR,
  type ValueOfStruct,
} from '../protocol/index.ts';
import {
  acceptOrReport,
  type DeviceServer,
  type ServedConnection,
  type ServedListener,
} from '../server/index.ts';
import { MigrationState } from '../states/index.ts';
import { type Closeable, listenOn } from '../transport/index.ts';
import { FdTable } from './fd-table.ts';
import { damagedRecord, HandoverError, unexpected } from './handover-error.ts';
import { AckBody, Kind, MAX_RECORD, MAX_RECORD_FDS, StateHead } from './layout.ts';
import { HandoverLink } from './link.ts';
import {
  decodeHello,
  decodeRefusal,
  encodeAccept,
  encodeRefusal,
  type HelloMessage,
  misfit,
} from './messages.ts';
import { Packer, Unpacker } from './pack.ts';
import type { HandoverRecord, RemainingListener } from './record.ts';
import { decodeRecord } from './record-decoder.ts';
import { type TakerAct, type TakerEvent, type TakerState, takerStep } from './sequence.ts';
import { Verdict, VerdictWord } from './verdict.ts';

/** What a process needs to take a device over. */
export interface TakerParts {
  /** Its server, with the device, which nobody else is served by. */
  readonly server: DeviceServer;
  /** The socket to the process that has the device. */
  readonly fd: number;
  /** How long to wait for it while nothing is stopped, in milliseconds. */
  readonly answerMs: number;
  /** Takes errors of the listeners, and of the device when it runs. */
  readonly report: (error: FerryError) => void;
}

/** What was taken over. */
export interface Takeover {
  readonly listeners: readonly ServedListener[];
  /** The process that had the device before. */
  readonly pid: number;
  /** How long nobody served its clients, in milliseconds. */
  readonly pauseMs: number;
}

/** What the other process has announced, and what of it has come. */
interface Delivery {
  readonly head: ValueOfStruct<typeof StateHead>;
  readonly record: Uint8Array[];
  readonly fds: number[];
  /** The record has been read. */
  taken: HandoverRecord | null;
}

/** The process that takes a device over from another one. */
export class Taker {
  readonly #parts: TakerParts;
  readonly #link: HandoverLink;
  readonly #settle: { resolve(takeover: Takeover): void; reject(error: FerryError): void };
  readonly #spare: number;
  /** In whose name the state is loaded. */
  readonly #self: ServedConnection;
  #word: VerdictWord | null = null;
  #hello: HelloMessage | null = null;
  #state: TakerState = 'asking';
  #timer: Closeable | null = null;
  #loading: Promise<void> = Promise.resolve();
  #delivery: Delivery | null = null;
  /** Fds of the record that nobody has been given yet. */
  #unowned: readonly number[] = [];
  #received = 0n;
  #listeners: ServedListener[] = [];
  #why: FerryError | null = null;

  /** The fd is the taker's from now on. `outcome` is told once. Throws NativeError. */
  constructor(
    parts: TakerParts,
    outcome: { resolve(takeover: Takeover): void; reject(error: FerryError): void },
  ) {
    const { server, fd } = parts;
    this.#parts = parts;
    this.#settle = outcome;
    const pair = new Int32Array(2);
    check(server.native.socketpair(pair), 'socketpair');
    const [own = -1, spare = -1] = pair;
    this.#spare = spare;
    this.#self = server.accept(own, 'control');
    const version = { major: PROTOCOL_MAJOR, minor: PROTOCOL_MINOR, capabilities: OUR_CAPABILITIES };
    this.#self.welcome(negotiate(version, OUR_CAPABILITIES).agreed);
    this.#link = new HandoverLink(server.native, server.reactor, fd, {
      message: (kind, body, fds) => this.#message(kind, body, fds),
      ended: (reason) => {
        this.#why ??= reason;
        this.#after(() => this.#happen('eof'));
      },
    });
    this.#timer = server.reactor.after(parts.answerMs, () => {
      this.#why ??= new HandoverError('ERR_HANDOVER_TIMEOUT', 'the running server does not answer');
      void this.#happen('timeout');
    });
  }

  #message(kind: number, body: Uint8Array, fds: readonly number[]): void {
    if (kind === Kind.HELLO) return this.#greeted(body, fds);
    if (kind === Kind.FDS) return this.#fdsCame(fds);
    if (fds.length > 0) throw unexpected(`has sent fds with message ${kind}`);
    const copy = body.slice();
    switch (kind) {
      case Kind.NO: {
        const { errno, text } = decodeRefusal(body);
        this.#why = new HandoverError('ERR_HANDOVER_REFUSED', text, {}, { errno: errno || Errno.EIO });
        void this.#happen('no');
        return;
      }
      case Kind.DATA:
        return this.#after(() => this.#dataCame(copy));
      case Kind.MARK:
        return this.#after(() => this.#acknowledge(0));
      case Kind.AGAIN:
        return this.#after(() => this.#happen('again'));
      case Kind.STATE:
        return this.#after(() => this.#announced(copy));
      case Kind.RECORD:
        return this.#after(() => this.#recordCame(copy));
      case Kind.GO:
        return this.#after(() => this.#happen('go'));
      default:
        throw unexpected(`has sent message ${kind}`);
    }
  }

  /**
   * Does something after what has come before it. The device may need its time for a change of state, but mostly it
   * does not, and then neither does this.
   */
  #after(act: () => void | Promise<void>): void {
    this.#loading = this.#loading.then(act).catch((error: unknown) => this.#fail(error));
  }

  #happen(event: TakerEvent): void | Promise<void> {
    const step = takerStep(this.#state, event);
    if (step === null) return this.#fail(unexpected(`says ${event} when that has no place`));
    const [next, act] = step;
    this.#state = next;
    return this.#act(act);
  }

  #act(act: TakerAct): void | Promise<void> {
    if (act === 'begin') return this.#after(() => this.#begin());
    if (act === 'ready') return this.#link.send(Kind.READY);
    if (act === 'take') return this.#take([Verdict.GIVEN]);
    if (act === 'inherit') return this.#take([Verdict.OPEN, Verdict.GIVEN]);
    if (act === 'refuse') return this.#refuse();
    if (act === 'leave') return this.#leave();
  }

  #fail(error: unknown): void {
    this.#why ??= asFerryError(error);
    if (this.#state === 'running') this.#parts.report(this.#why);
    else if (takerStep(this.#state, 'failed') !== null) void this.#happen('failed');
  }

  #greeted(body: Uint8Array, [fd, ...more]: readonly number[]): void {
    const { native, device } = this.#parts.server;
    this.#timer?.close();
    for (const other of more) native.close(other);
    if (fd === undefined || this.#word !== null) throw unexpected('greets in a wrong way');
    this.#word = VerdictWord.open(native, fd);
    const hello = decodeHello(body);
    this.#hello = hello;
    const { handover, identity } = device;
    const why =
      handover === undefined
        ? 'this device declares no state that it could go on with'
        : misfit(hello, { identity, parts: handover.parts, shared: handover.shared });
    if (why !== null) throw new HandoverError('ERR_HANDOVER_REFUSED', why);
    void this.#happen('hello');
  }

  /** Begins, or begins anew, to load the state. */
  async #begin(): Promise<void> {
    const { server } = this.#parts;
    const { handover } = server.device;
    this.#received = 0n;
    if (server.migration.state !== MigrationState.RUNNING) await server.reset(this.#self);
    handover?.begin((this.#hello?.shared ?? []).map(({ name }) => name));
    await server.setState(MigrationState.RESUMING, this.#self);
    this.#link.send(Kind.OK, encodeAccept());
  }

  #dataCame(body: Uint8Array): void | Promise<void> {
    if (this.#state !== 'loading') return;
    this.#parts.server.migration.write(body, this.#self);
    this.#received += BigInt(body.length);
    return this.#look();
  }

  #announced(body: Uint8Array): void {
    const head = new Unpacker(body).struct(StateHead);
    if (head.recordLength > MAX_RECORD || head.fds > MAX_RECORD_FDS) throw damagedRecord('is too large');
    if (this.#delivery !== null) throw unexpected('has stopped twice');
    this.#delivery = { head, record: [], fds: [], taken: null };
  }

  #recordCame(piece: Uint8Array): void | Promise<void> {
    const delivery = this.#requireDelivery();
    delivery.record.push(piece);
    return this.#look();
  }

  #fdsCame(fds: readonly number[]): void {
    this.#after(() => {
      const delivery = this.#requireDelivery();
      delivery.fds.push(...fds);
      if (delivery.fds.length < delivery.head.fds) this.#acknowledge(delivery.fds.length);
      return this.#look();
    });
  }

  #acknowledge(received: number): void {
    const pack = new Packer();
    pack.struct(AckBody, { received });
    this.#link.send(Kind.ACK, pack.finish());
  }

  #requireDelivery(): Delivery {
    if (this.#delivery === null) throw unexpected('sends what it has not announced');
    return this.#delivery;
  }

  /** Whether everything is here that comes before the rest of the state, and whether that is, too. */
  #look(): void | Promise<void> {
    const delivery = this.#delivery;
    if (delivery === null) return;
    delivery.taken ??= this.#readRecord(delivery);
    if (delivery.taken === null || this.#received < delivery.head.dataLength) return;
    if (this.#received > delivery.head.dataLength) throw damagedRecord('is followed by too much');
    return this.#complete(delivery.taken);
  }

  /** Null: it is not all here yet. */
  #readRecord({ head, record, fds }: Delivery): HandoverRecord | null {
    const { native, device } = this.#parts.server;
    const length = record.reduce((sum, piece) => sum + piece.length, 0);
    if (length > head.recordLength || fds.length > head.fds) throw damagedRecord('is longer than announced');
    if (length < head.recordLength || fds.length < head.fds) return null;
    const bytes = Buffer.concat(record);
    if (native.crc32(bytes, 0) !== head.recordChecksum) throw damagedRecord('was damaged');
    const table = new FdTable(native, fds);
    const decoded = decodeRecord(bytes, table);
    this.#unowned = table.given.filter(
      (fd) => !decoded.server.device.blocks.some((block) => block.fd === fd),
    );
    device.handover?.adopt(decoded.server.device.blocks, decoded.server.device.timers);
    return decoded;
  }

  /** The state is all here: makes everything that can be made before the device is ours. */
  async #complete({ server: remains, listeners }: HandoverRecord): Promise<void> {
    const { server } = this.#parts;
    await server.setState(MigrationState.STOP, this.#self);
    this.#unowned = [];
    server.device.handover?.take(remains.device.possessions);
    server.succession.adopt(remains);
    for (const listener of listeners) this.#listenOn(listener);
    await this.#happen('complete');
  }

  #listenOn({ role, fd, path }: RemainingListener): void {
    const { server } = this.#parts;
    const { native, reactor } = server;
    const accepted = (connected: number): void => acceptOrReport(server, connected, role);
    const paused = { paused: true, blocking: path === null };
    this.#listeners.push({ role, listener: listenOn({ native, reactor, fd, path, accepted, ...paused }) });
  }

  /** The device is given, or its process has died: it is ours if the word says so. */
  async #take(from: readonly Verdict[]): Promise<void> {
    const { server } = this.#parts;
    const word = this.#word;
    if (word === null || !from.some((value) => word.change(value, Verdict.TAKEN))) {
      this.#state = 'refused';
      return this.#leave();
    }
    this.#link.send(Kind.TAKEN);
    server.device.handover?.end();
    await this.#run();
    const pauseMs = Number(process.hrtime.bigint() - (this.#delivery?.head.stoppedAt ?? 0n)) / 1e6;
    server.succession.thaw();
    for (const { listener } of this.#listeners) listener.resume();
    this.#self.connection.close();
    server.native.close(this.#spare);
    const pid = this.#hello?.pid ?? 0;
    void this.#link.drained().then(() => this.#link.close());
    word.close();
    this.#settle.resolve({ listeners: this.#listeners, pid, pauseMs });
  }

  /** There is no way back any more: a device that does not run is still this process's, which says so. */
  async #run(): Promise<void> {
    try {
      await this.#parts.server.setState(MigrationState.RUNNING, this.#self);
    } catch (error) {
      this.#parts.report(asFerryError(error));
    }
  }

  #refuse(): void {
    const { errno = Errno.EIO, message = 'no reason was given' } = this.#why ?? {};
    this.#link.send(Kind.NO, encodeRefusal(errno, message));
    this.#leave();
  }

  /** The device stays where it is: lets go of everything, and touches nothing that belongs to it. */
  #leave(): void {
    const { server } = this.#parts;
    this.#timer?.close();
    for (const { listener } of this.#listeners) listener.release();
    const delivery = this.#delivery;
    const unowned = delivery?.taken === null ? delivery.fds : this.#unowned;
    for (const fd of unowned) server.native.close(fd);
    server.succession.abandon();
    server.native.close(this.#spare);
    void this.#link.drained().then(() => this.#link.close());
    this.#word?.close();
    const why = this.#why ?? new HandoverError('ERR_HANDOVER_FAILED', 'the running server keeps its device');
    this.#settle.reject(why);
  }
}

function asFerryError(error: unknown): FerryError {
  if (error instanceof FerryError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new HandoverError(
    'ERR_HANDOVER_FAILED',
    `the device can't be taken over: ${text}`,
    {},
    { cause: error },
  );
}
