import { Errno, type FerryError } from '../errors/index.ts';
import type { DeviceServer, ServedConnection, ServedListener } from '../server/index.ts';
import type { Closeable } from '../transport/index.ts';
import { asFerryError, HandoverError, unexpected } from './handover-error.ts';
import { Kind, MAX_BODY, PROTOCOL_VERSION } from './layout.ts';
import { effectiveLimits, type HandoverLimits } from './limits.ts';
import { HandoverLink } from './link.ts';
import { decodeRefusal, encodeHello, encodeRefusal } from './messages.ts';
import { Outgoing } from './outgoing.ts';
import { type GiverAct, type GiverEvent, type GiverState, giverStep } from './sequence.ts';
import { Standstill } from './standstill.ts';
import { StateCopy } from './state-copy.ts';
import { Verdict, VerdictWord } from './verdict.ts';

/** What a hand-over is about. */
export interface GiverParts {
  readonly server: DeviceServer;
  readonly listeners: readonly ServedListener[];
  /** The control connection of the process that asks. */
  readonly by: ServedConnection;
  /** The socket to it. */
  readonly fd: number;
  readonly limits: HandoverLimits;
  /** Why not, if whoever runs the server knows. */
  readonly obstacle: string | null;
  /** Settles when what will be done has been practised; what it rejects with speaks against the hand-over. */
  readonly rehearsed: Promise<void>;
  /** The most bytes of a message; {@link MAX_BODY} by default. */
  readonly maxBody?: number;
  /** It is over: the device is the other process's (null), or stays here, and why. */
  readonly over: (kept: FerryError | null) => void;
}

/** How often it is begun anew because the device was reset meanwhile. */
const MAX_ATTEMPTS = 20;

/** The process that has a device, and gives it to another one. */
export class Giver {
  readonly #parts: GiverParts;
  readonly #limits: Required<HandoverLimits>;
  readonly #link: HandoverLink;
  readonly #outgoing: Outgoing;
  readonly #word: VerdictWord;
  #standstill: Standstill | null = null;
  #state: GiverState = 'asked';
  #timer: Closeable | null = null;
  #attempts = 0;
  #why: FerryError | null = null;

  /** The fd is the giver's from now on. A device that can't be given is refused over it. Throws NativeError. */
  constructor(parts: GiverParts) {
    const { server, by, fd } = parts;
    this.#parts = parts;
    this.#limits = effectiveLimits(parts.limits);
    this.#word = VerdictWord.create(server.native);
    const events = {
      message: (kind: number, body: Uint8Array, fds: readonly number[]) => this.#message(kind, body, fds),
      ended: (reason: FerryError) => this.#ended(reason),
    };
    this.#link = new HandoverLink(server.native, server.reactor, fd, events, parts.maxBody);
    this.#outgoing = new Outgoing(server.native, this.#link);
    // Nobody may wait for it any more when it settles.
    parts.rehearsed.catch(() => {});
    try {
      const obstacle = parts.obstacle ?? server.succession.obstacle(by);
      if (obstacle !== null) throw new HandoverError('ERR_HANDOVER_REFUSED', obstacle);
      this.#greet();
    } catch (error) {
      this.#fail(error);
    }
  }

  #greet(): void {
    const { server, listeners, by } = this.#parts;
    const limits = this.#limits;
    this.#standstill = new Standstill({ server, listeners, by, limits });
    const { identity, handover } = server.device;
    const hello = {
      ...{ protocol: PROTOCOL_VERSION, pid: process.pid, identity },
      ...{ parts: handover?.parts ?? [], shared: handover?.shared ?? [] },
      fds: listeners.length + server.succession.descriptors(by),
    };
    this.#standstill.begin();
    this.#link.send(Kind.HELLO, encodeHello(hello), [this.#word.fd]);
    this.#arm(limits.answerMs, 'the new process does not answer');
  }

  #message(kind: number, body: Uint8Array, fds: readonly number[]): void {
    for (const fd of fds) this.#parts.server.native.close(fd);
    switch (kind) {
      case Kind.OK:
        return this.#happen('ok');
      case Kind.TAKEN:
        return this.#happen('taken');
      case Kind.ACK:
        return this.#outgoing.acknowledge(body);
      case Kind.NO: {
        const { errno, text } = decodeRefusal(body);
        this.#why = new HandoverError('ERR_HANDOVER_REFUSED', text, {}, { errno: errno || Errno.EIO });
        return this.#happen('no');
      }
      default:
        throw unexpected(`has sent message ${kind}`);
    }
  }

  #ended(reason: FerryError): void {
    this.#why ??= reason;
    this.#happen('eof');
  }

  /** Looks up what is to be done, and does it. */
  #happen(event: GiverEvent): void {
    const step = giverStep(this.#state, event);
    if (step === null) return this.#fail(unexpected(`says ${event} when that has no place`));
    const [next, act] = step;
    this.#state = next;
    this.#act(act);
  }

  #act(act: GiverAct): void {
    if (act === 'copy') void this.#copy();
    else if (act === 'keep') this.#keep();
    else if (act === 'reclaim') this.#reclaim();
    else if (act === 'leave') this.#leave();
  }

  #fail(error: unknown): void {
    this.#why ??= asFerryError(error, 'handed over');
    // When it has gone nothing that this process finds out counts.
    if (giverStep(this.#state, 'failed') !== null) this.#happen('failed');
  }

  #arm(ms: number, what: string): void {
    this.#disarm();
    this.#timer = this.#parts.server.reactor.after(ms, () => {
      this.#why ??= new HandoverError('ERR_HANDOVER_TIMEOUT', `${what} within ${ms} ms`);
      this.#happen('timeout');
    });
  }

  #disarm(): void {
    this.#timer?.close();
    this.#timer = null;
  }

  /** Sends the state while the device runs; then stops it, and sends the rest. */
  async #copy(): Promise<void> {
    this.#disarm();
    const standstill = this.#requireStandstill();
    const wanted = (): boolean => this.#state === 'copying';
    const copy = this.#makeCopy(wanted);
    try {
      await this.#parts.rehearsed;
      if (wanted()) await standstill.practise();
      if (wanted()) await standstill.settle();
      if (wanted()) standstill.requireNoObstacle();
      if (wanted()) await this.#prepare();
      if (wanted()) await copy.whileRunning();
      if (wanted()) await standstill.stop();
      if (wanted()) this.#hand(standstill, copy);
    } catch (error) {
      if (this.#state !== 'copying' && this.#state !== 'stopped') return;
      if (this.#mayRepeat(standstill)) await this.#again(standstill);
      else this.#fail(error);
    }
  }

  /** Guest memory is mapped there before anybody waits: the memory manager of a runtime takes its time for so much. */
  async #prepare(): Promise<void> {
    this.#arm(this.#limits.answerMs, 'the new process does not map guest memory');
    await this.#outgoing.prepare(this.#parts.server.memory.describeMaps());
  }

  #makeCopy(wanted: () => boolean): StateCopy {
    const { server, by, maxBody = MAX_BODY } = this.#parts;
    const awaiting = (): void => this.#arm(this.#limits.answerMs, 'the new process does not take the state');
    return new StateCopy({
      server,
      by,
      link: this.#link,
      outgoing: this.#outgoing,
      maxBody,
      wanted,
      awaiting,
    });
  }

  /** From here to the end of the function nobody else runs in this process. */
  #hand(standstill: Standstill, copy: StateCopy): void {
    this.#happen('stop');
    this.#arm(this.#limits.frozenMs, 'the new process did not take the device');
    standstill.freeze();
    const data = copy.rest();
    const record = standstill.record();
    void this.#outgoing.sendStopped(
      { record, data, dataLength: copy.sent, stopped: standstill.stopped },
      () => this.#state === 'stopped',
    );
  }

  #requireStandstill(): Standstill {
    if (this.#standstill === null) throw new TypeError('nothing has been begun');
    return this.#standstill;
  }

  /** Whether it failed because the device was reset meanwhile. */
  #mayRepeat(standstill: Standstill): boolean {
    this.#attempts += 1;
    return standstill.wasReset && this.#attempts < MAX_ATTEMPTS && this.#link.open;
  }

  async #again(standstill: Standstill): Promise<void> {
    this.#disarm();
    this.#state = 'copying';
    try {
      await standstill.goOn();
    } catch (error) {
      return this.#fail(error);
    }
    if (this.#state !== 'copying') return;
    standstill.begin();
    this.#happen('again');
    this.#arm(this.#limits.answerMs, 'the new process does not answer');
    this.#link.send(Kind.AGAIN);
  }

  /** The new process has died, or has not taken the device in time: this one goes on with it, if it is still there. */
  #reclaim(): void {
    if (this.#word.change(Verdict.OPEN, Verdict.KEPT)) return this.#keep();
    this.#state = 'gone';
    this.#leave();
  }

  /** The device goes on here. */
  #keep(): void {
    this.#disarm();
    this.#word.change(Verdict.OPEN, Verdict.KEPT);
    const { errno = Errno.EIO, message = 'no reason was given' } = this.#why ?? {};
    this.#link.send(Kind.NO, encodeRefusal(errno, message));
    const why = this.#why ?? new HandoverError('ERR_HANDOVER_FAILED', 'the new process has ended');
    const goesOn = this.#standstill?.goOn() ?? Promise.resolve();
    goesOn.then(
      () => this.#close(why),
      (error: unknown) => {
        this.#parts.server.report(asFerryError(error, 'set going again'));
        this.#close(why);
      },
    );
  }

  #leave(): void {
    this.#disarm();
    this.#standstill?.leave();
    this.#close(null);
  }

  #close(kept: FerryError | null): void {
    void this.#link.drained().then(() => {
      this.#link.close();
      this.#word.close();
      this.#parts.over(kept);
    });
  }
}
