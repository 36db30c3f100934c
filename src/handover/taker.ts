import { Errno, type FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import type { Closeable } from '../transport/index.ts';
import { Delivery } from './delivery.ts';
import { fdShortage } from './fd-room.ts';
import { asFerryError, damagedRecord, HandoverError, unexpected } from './handover-error.ts';
import { Landing } from './landing.ts';
import { AckBody, Kind } from './layout.ts';
import { HandoverLink } from './link.ts';
import {
  decodeHello,
  decodeRefusal,
  encodeAccept,
  encodeRefusal,
  type HelloMessage,
  misfit,
} from './messages.ts';
import { Packer } from './pack.ts';
import { type Moment, moment, type Pause, pauseOf } from './pause.ts';
import type { HandoverRecord } from './record.ts';
import { type TakerAct, type TakerEvent, type TakerState, takerStep } from './sequence.ts';
import type { Takeover, TakerParts } from './taker-parts.ts';
import { Verdict, VerdictWord } from './verdict.ts';

/** How long everything else waits for the clients to be served, in milliseconds. */
const CLIENTS_FIRST_MS = 1;

/** The process that takes a device over from another one. */
export class Taker {
  readonly #parts: TakerParts;
  readonly #link: HandoverLink;
  readonly #landing: Landing;
  readonly #settle: { resolve(takeover: Takeover): void; reject(error: FerryError): void };
  #word: VerdictWord | null = null;
  #hello: HelloMessage | null = null;
  #state: TakerState = 'asking';
  #timer: Closeable | null = null;
  /** What has come and is not dealt with yet. */
  #loading: Promise<void> = Promise.resolve();
  #queued = 0;
  #delivery: Delivery | null = null;
  #received = 0n;
  #adopted = false;
  #arrived: Moment | null = null;
  #why: FerryError | null = null;

  /** The fd is the taker's from now on. `outcome` is told once. Throws NativeError. */
  constructor(
    parts: TakerParts,
    outcome: { resolve(takeover: Takeover): void; reject(error: FerryError): void },
  ) {
    const { server, fd, report } = parts;
    this.#parts = parts;
    this.#settle = outcome;
    this.#landing = new Landing(server, report);
    const events = {
      message: (kind: number, body: Uint8Array, fds: readonly number[]) => this.#message(kind, body, fds),
      ended: (reason: FerryError) => {
        this.#why ??= reason;
        this.#after(() => this.#happen('eof'));
      },
    };
    this.#link = new HandoverLink(server.native, server.reactor, fd, events, parts.maxBody);
    this.#timer = server.reactor.after(parts.answerMs, () => {
      this.#why ??= new HandoverError('ERR_HANDOVER_TIMEOUT', 'the running server does not answer');
      void this.#happen('timeout');
    });
  }

  #message(kind: number, body: Uint8Array, fds: readonly number[]): void {
    if (kind === Kind.HELLO) return this.#greeted(body, fds);
    if (kind === Kind.FDS) return this.#after(() => this.#fdsCame(fds));
    if (kind === Kind.MAPS) return this.#mapsCame(body.slice(), fds);
    if (fds.length > 0) throw unexpected(`has sent fds with message ${kind}`);
    // What is dealt with at once needs no copy, and much of the state is.
    const copy = this.#queued === 0 ? body : body.slice();
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
        this.#arrived = moment();
        return this.#after(() => this.#announced(copy));
      case Kind.RECORD:
        return this.#after(() => this.#recordCame(copy));
      default:
        throw unexpected(`has sent message ${kind}`);
    }
  }

  /**
   * Does something after what has come before it: at once, unless that is still under way because the device needs its
   * time for a change of state.
   */
  #after(act: () => void | Promise<void>): void {
    if (this.#queued > 0) return this.#follow(this.#loading.then(act));
    try {
      const loading = act();
      if (loading !== undefined) this.#follow(loading);
    } catch (error) {
      this.#fail(error);
    }
  }

  #follow(loading: Promise<void>): void {
    this.#queued += 1;
    this.#loading = loading
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#queued -= 1;
      });
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
    if (act === 'take') return this.#take();
    if (act === 'refuse') return this.#refuse();
    if (act === 'leave') return this.#leave();
  }

  #fail(error: unknown): void {
    this.#why ??= asFerryError(error, 'taken over');
    if (this.#state === 'running') this.#parts.report(this.#why);
    else if (takerStep(this.#state, 'failed') !== null) void this.#happen('failed');
  }

  #greeted(body: Uint8Array, [fd, ...more]: readonly number[]): void {
    const { native, device } = this.#parts.server;
    this.#timer?.close();
    closeAll(native, more);
    if (fd === undefined || this.#word !== null) throw unexpected('greets in a wrong way');
    this.#word = VerdictWord.open(native, fd);
    const hello = decodeHello(body);
    this.#hello = hello;
    const { handover, identity } = device;
    const why =
      handover === undefined
        ? 'this device declares no state that it could go on with'
        : (misfit(hello, { identity, parts: handover.parts, shared: handover.shared }) ??
          fdShortage(hello.fds, this.#parts.fdRoom()));
    if (why !== null) throw new HandoverError('ERR_HANDOVER_REFUSED', why);
    void this.#happen('hello');
  }

  /** Begins, or begins anew, to load the state. */
  async #begin(): Promise<void> {
    this.#received = 0n;
    await this.#landing.begin((this.#hello?.shared ?? []).map(({ name }) => name));
    this.#link.send(Kind.OK, encodeAccept());
  }

  #mapsCame(body: Uint8Array, fds: readonly number[]): void {
    const { native } = this.#parts.server;
    const wanted = (): boolean => this.#state === 'loading';
    this.#after(() => (wanted() ? this.#landing.prepare(body, fds) : closeAll(native, fds)));
  }

  #dataCame(body: Uint8Array): void | Promise<void> {
    if (this.#state !== 'loading') return;
    this.#landing.write(body);
    this.#received += BigInt(body.length);
    return this.#look();
  }

  #announced(body: Uint8Array): void {
    if (this.#delivery !== null) throw unexpected('has stopped twice');
    this.#delivery = new Delivery(this.#parts.server.native, body);
  }

  #recordCame(piece: Uint8Array): void | Promise<void> {
    this.#requireDelivery().addBytes(piece);
    return this.#look();
  }

  #fdsCame(fds: readonly number[]): void | Promise<void> {
    if (this.#delivery === null || this.#state !== 'loading') {
      closeAll(this.#parts.server.native, fds);
      return this.#fail(unexpected('sends what it has not announced'));
    }
    if (this.#delivery.addFds(fds) > 0) this.#acknowledge(this.#delivery.fdCount);
    return this.#look();
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
    if (delivery === null || this.#state !== 'loading') return;
    const record = delivery.record();
    if (record === null) return;
    if (!this.#adopted) this.#adoptBlocks(delivery, record);
    const { dataLength } = delivery.head;
    if (this.#received > dataLength) throw damagedRecord('is followed by too much');
    if (this.#received === dataLength) return this.#complete(delivery, record);
  }

  #adoptBlocks(delivery: Delivery, record: HandoverRecord): void {
    this.#adopted = true;
    delivery.owned(record.server.device.blocks.map(({ fd }) => fd));
    this.#landing.adoptBlocks(record);
  }

  /** The state is all here: makes everything that can be made before the device is ours, and takes it. */
  async #complete(delivery: Delivery, record: HandoverRecord): Promise<void> {
    const loaded = this.#landing.load();
    if (loaded !== undefined) await loaded;
    if (this.#state !== 'loading') return;
    this.#landing.settle(record, delivery.owned);
    await this.#happen('complete');
  }

  /** Everything is here, whether its process lives or not: the device is ours if the word says so. */
  async #take(): Promise<void> {
    const word = this.#word;
    if (word?.change(Verdict.OPEN, Verdict.TAKEN) !== true) {
      this.#why ??= new HandoverError(
        'ERR_HANDOVER_TIMEOUT',
        'the running server has gone on with its device',
      );
      this.#state = 'refused';
      return this.#leave();
    }
    const taken = moment();
    const running = this.#landing.run();
    if (running !== undefined) await running;
    const pause = pauseOf(this.#requireDelivery().head, this.#arrived ?? taken, taken, moment());
    // What clients have said meanwhile is still in the kernel: before anything else the event loop gets its turn.
    this.#parts.server.reactor.after(CLIENTS_FIRST_MS, () => this.#finish(word, pause));
  }

  #finish(word: VerdictWord, pause: Pause): void {
    this.#link.send(Kind.TAKEN);
    this.#landing.finish();
    void this.#link.drained().then(() => this.#link.close());
    word.close();
    this.#settle.resolve({ listeners: this.#landing.listeners, pid: this.#hello?.pid ?? 0, pause });
  }

  #refuse(): void {
    const { errno = Errno.EIO, message = 'no reason was given' } = this.#why ?? {};
    this.#link.send(Kind.NO, encodeRefusal(errno, message));
    this.#leave();
  }

  /** The device stays where it is. */
  #leave(): void {
    this.#timer?.close();
    this.#delivery?.discard();
    this.#landing.leave();
    void this.#link.drained().then(() => this.#link.close());
    this.#word?.close();
    this.#word = null;
    const why = this.#why ?? new HandoverError('ERR_HANDOVER_FAILED', 'the running server keeps its device');
    this.#settle.reject(why);
  }
}

function closeAll(native: Native, fds: readonly number[]): void {
  for (const fd of fds) native.close(fd);
}
