import type { EndInspection, MigrationEnd, MigrationHooks, PrecopyEstimate } from '../../engine/index.ts';
import { MigrationState } from '../../states/index.ts';
import { encodeRecord } from '../record.ts';
import { Stopwatch } from '../stopwatch.ts';
import { both } from '../together.ts';
import { VmError } from '../vm-error.ts';
import { FrameKind, frameHead, MAX_VMM_FRAME } from '../vm-stream.ts';
import {
  type ConfigurationView,
  compareViews,
  type PassedDevices,
  passThrough,
  placesOf,
  readRegisters,
} from './client-state.ts';
import { planLines, quietenRunning, quietenStopped } from './interrupt-lines.ts';
import {
  awaitCompleted,
  bringVmBack,
  finishOutgoing,
  type OutgoingSettings,
  readOutgoing,
  requireUnderWay,
  restoreSettings,
  startOutgoing,
  stopVm,
} from './outgoing.ts';
import { OutgoingStream } from './outgoing-stream.ts';
import { Round } from './round.ts';
import { sourceState } from './source-state.ts';
import { touchWrittenPages } from './touch.ts';
import type { VmSourceOptions, VmSourceReport } from './vm-source-options.ts';

const { RUNNING, PRE_COPY, STOP_COPY, STOP } = MigrationState;

/** STOP_COPY, P2P and PRE_COPY (linux/vfio.h). */
export const VM_FLAGS = 7n;

/** Size of what QEMU sends of its own devices, about, in bytes. */
const DEVICES_SIZE = 256n * 1024n;
/** How long QEMU is waited for before it is asked where it is, in milliseconds. */
const WAIT_MS = 10;
const PAGE = 4096n;

/**
 * The VM itself, as one more member of the group that moves. Its state is QEMU's own migration stream. It stops before any of
 * its devices does; QEMU pauses before its switch-over, and goes on only when all of them have stopped and what they have
 * written is known to it.
 */
export class VmSource implements MigrationEnd {
  readonly name: string;
  readonly #options: VmSourceOptions;
  #state: MigrationState | null = null;
  #stream: OutgoingStream | null = null;
  #settings: OutgoingSettings | null = null;
  /** Who is to be asked for the configuration spaces. */
  #views: readonly ConfigurationView[] = [];
  /** They have got what the guest wrote to them before it stopped. */
  #passed: PassedDevices | null = null;
  #queue: Uint8Array[] = [];
  readonly #round = new Round();
  #settling: Promise<void> | null = null;
  /** That has failed. */
  #failed = false;
  #finished = false;
  /** QEMU has been told to save and send the rest. */
  #continuing: Promise<void> | null = null;
  /** QEMU says that all has been sent. */
  #completed: Promise<void> | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #stoppedAt: number | null = null;
  #continuedAt: number | null = null;
  #pages = 0;
  readonly #stopwatch = new Stopwatch();

  constructor(options: VmSourceOptions) {
    this.name = options.name;
    this.#options = options;
  }

  /** What the engine calls around the blackout. */
  get hooks(): MigrationHooks {
    return { beforeStop: () => this.#stop(), resume: () => this.#requireRunning() };
  }

  get report(): VmSourceReport {
    const { laps } = this.#stopwatch;
    const stoodStillAt = this.#options.performer.timeOf('STOP');
    return {
      stoppedAt: this.#stoppedAt,
      continuedAt: this.#continuedAt,
      stoodStillAt,
      pages: this.#pages,
      laps,
    };
  }

  flags(): Promise<bigint> {
    return Promise.resolve(VM_FLAGS);
  }

  inspect(): Promise<EndInspection> {
    return Promise.resolve({ identity: this.#options.identity, busy: null });
  }

  /** That all has been sent is required before COMMIT, and need not keep what was sent from being loaded. */
  async state(): Promise<number> {
    const completed = this.#completed;
    this.#completed = null;
    await completed;
    return this.#options.performer.run(sourceState(this.#state));
  }

  async setState(state: MigrationState): Promise<void> {
    if (state === PRE_COPY) await this.#start();
    else if (state === RUNNING) await this.#comeBack();
    else if (state === STOP) await this.#cleanUp();
    this.#state = state;
  }

  /** One piece after the other, however many are asked for at once. */
  read(maxBytes: number, consume: (chunk: Uint8Array) => void): Promise<number> {
    const reading = this.#turn.then(() => this.#read(maxBytes, consume));
    this.#turn = reading.catch(() => {});
    return reading;
  }

  write(): Promise<void> {
    return Promise.reject(new VmError('ERR_VM_REFUSED', 'a VM that is moved away takes no state'));
  }

  async precopyInfo(): Promise<PrecopyEstimate | null> {
    const left = await this.#left();
    return left === null ? null : { initialBytes: 0n, dirtyBytes: left };
  }

  async dataSize(): Promise<bigint | null> {
    const left = await this.#left();
    return left === null ? null : left + DEVICES_SIZE;
  }

  reset(): Promise<void> {
    return Promise.reject(new VmError('ERR_VM_REFUSED', 'a VM that is moved away is not reset'));
  }

  /** Gives back what it holds; the VM stays as it is. */
  close(): void {
    this.#stream?.close();
  }

  /** The log of the devices is on before QEMU sends the first page. */
  async #start(): Promise<void> {
    const { performer, clients, folder, ecam, ids } = this.#options;
    if (ecam === null) throw new VmError('ERR_VM_REFUSED', 'nobody has looked at the VM');
    this.#views = await performer.run(compareViews(ecam, ids));
    for (const client of clients) await client.startDmaLogging(PAGE, []);
    this.#stream = new OutgoingStream(folder);
    this.#settings = await performer.run(startOutgoing(`unix:${this.#stream.path}`));
  }

  /** Until the VM stands still, and all that it has done to its devices has reached them. */
  async #stop(): Promise<void> {
    const { performer, ids, ecam } = this.#options;
    if (ecam === null) throw new VmError('ERR_VM_REFUSED', 'nobody has looked at the VM');
    this.#stream?.hold();
    const [lines, places] = await performer.run(both(planLines(ids), placesOf(ids)));
    await performer.run(quietenRunning(lines));
    await performer.run(stopVm());
    // QEMU may have stopped it before, by itself.
    this.#stoppedAt = performer.heardAt('STOP') ?? performance.now();
    this.#stream?.hurry();
    const passing = performer.run(both(quietenStopped(lines), passThrough(ecam, places, this.#views)));
    const [, views] = await this.#stopwatch.time('clear interrupt lines', passing);
    this.#passed = { ecam, ids, places, views };
  }

  /** A device that has thrown away what it has sent needs the VM to run again, which QEMU does only from the beginning. */
  async #requireRunning(): Promise<void> {
    if ((await this.state()) === RUNNING) return;
    throw new VmError(
      'ERR_VM_MIGRATION',
      'a device has begun its pre-copy anew, and QEMU can not: begin again',
    );
  }

  async #read(maxBytes: number, consume: (chunk: Uint8Array) => void): Promise<number> {
    if (this.#state === STOP_COPY) this.#settle();
    else if (this.#queue.length === 0 && this.#round.isDue && (await this.#isRoundOver())) return 0;
    if (this.#queue.length === 0) await this.#fetch(maxBytes);
    const [first] = this.#queue;
    if (first === undefined) return 0;
    const piece = first.subarray(0, maxBytes);
    if (piece.length === first.length) this.#queue.shift();
    else this.#queue[0] = first.subarray(maxBytes);
    consume(piece);
    return piece.length;
  }

  /** What QEMU has sent, in a frame; nothing when it is the end of a round, and at the end of all what says so. */
  async #fetch(maxBytes: number): Promise<void> {
    const most = Math.min(maxBytes, MAX_VMM_FRAME);
    const stream = this.#requireStream();
    while (!this.#finished) {
      if (this.#failed) await this.#settling;
      const stopped = this.#state === STOP_COPY;
      const told = this.#continuing !== null;
      const piece = await stream.take(most, stopped ? this.#options.timeoutMs : WAIT_MS);
      if (piece !== null) return this.#frame(piece);
      if (told) return await this.#finish(stream);
      if (stopped) await this.#settling;
      else if (await this.#isRoundOver()) return;
    }
  }

  #frame(piece: Uint8Array): void {
    this.#round.heard();
    this.#queue.push(frameHead(FrameKind.VMM, piece.length), piece);
  }

  async #finish(stream: OutgoingStream): Promise<void> {
    const { performer, timeoutMs } = this.#options;
    await this.#continuing;
    if (!stream.ended) throw new VmError('ERR_VM_TIMEOUT', `QEMU has sent nothing for ${timeoutMs} ms`);
    if (this.#continuedAt !== null) this.#stopwatch.note('QEMU saves and sends', this.#continuedAt);
    this.#completed = performer.run(awaitCompleted(timeoutMs));
    this.#completed.catch(() => {});
    this.#finished = true;
    this.#queue.push(frameHead(FrameKind.END, 0));
  }

  async #isRoundOver(): Promise<boolean> {
    const outgoing = await this.#options.performer.run(readOutgoing());
    requireUnderWay(outgoing);
    return this.#round.isOver(outgoing);
  }

  /**
   * Once: all devices have stopped. What they have written becomes QEMU's business; then it saves and sends the rest. What it
   * has sent before is passed on meanwhile; whoever comes to the end of it hears of a failure.
   */
  #settle(): void {
    this.#settling ??= this.#finishSaving();
    this.#settling.catch(() => {
      this.#failed = true;
      this.#stream?.wake();
    });
  }

  async #finishSaving(): Promise<void> {
    const { performer, ids, timeoutMs } = this.#options;
    const passed = this.#passed;
    if (passed === null) throw new VmError('ERR_VM_MIGRATION', 'the VM has not been stopped');
    const work = performer.run(both(touchWrittenPages(ids), readRegisters(passed)));
    const [pages, record] = await this.#stopwatch.time('touch pages, read registers', work);
    this.#pages = pages;
    this.#continuing = performer.run(finishOutgoing(timeoutMs)).then(() => {
      this.#continuedAt = performance.now();
    });
    this.#continuing.catch(() => {});
    const bytes = encodeRecord(record);
    this.#queue.push(frameHead(FrameKind.RECORD, bytes.length), bytes);
  }

  /**
   * Null before QEMU knows what there is. When the VM stands still, QEMU is not kept from sending what is left by asking how
   * much that is.
   */
  async #left(): Promise<bigint | null> {
    const waiting = this.#stream?.waiting ?? 0;
    if (this.#stoppedAt !== null) return BigInt(waiting);
    const { passes, remaining } = await this.#options.performer.run(readOutgoing());
    return passes === 0 ? null : BigInt(remaining + waiting);
  }

  /** Not while a page is touched: what the guest writes there could be undone. */
  async #comeBack(): Promise<void> {
    const { performer, timeoutMs } = this.#options;
    await this.#settling?.catch(() => {});
    await performer.run(bringVmBack(timeoutMs));
    await this.#cleanUp();
    const settings = this.#settings;
    this.#settings = null;
    if (settings !== null) await performer.run(restoreSettings(settings));
  }

  async #cleanUp(): Promise<void> {
    this.#stream?.close();
    for (const client of this.#options.clients) await client.stopDmaLogging().catch(() => {});
  }

  #requireStream(): OutgoingStream {
    if (this.#stream === null) throw new VmError('ERR_VM_MIGRATION', 'QEMU has not begun to send');
    return this.#stream;
  }
}
