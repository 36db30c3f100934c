import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import type { EndInspection, MigrationEnd, MigrationHooks } from '../../engine/index.ts';
import { MigrationState } from '../../states/index.ts';
import { BufferPool } from '../buffer-pool.ts';
import { textIn } from '../json.ts';
import type { VmPerformer } from '../performer.ts';
import { decodeRecord, type VmRecord } from '../record.ts';
import { runState } from '../run-state.ts';
import { VM_FLAGS } from '../source/vm-source.ts';
import { qmp, type VmSequence } from '../step.ts';
import { type Lap, Stopwatch } from '../stopwatch.ts';
import { VmError } from '../vm-error.ts';
import { FrameReader } from '../vm-stream.ts';
import { awaitLoaded, letRun, startIncoming } from './incoming.ts';
import { replay } from './replay.ts';

const { RUNNING, RESUMING, STOP, RUNNING_P2P, ERROR } = MigrationState;

/** What a VM that is moved here consists of. */
export interface VmTargetOptions {
  /** How commands and messages call it. */
  readonly name: string;
  readonly performer: VmPerformer;
  /** Where QEMU can listen. */
  readonly folder: string;
  readonly identity: EndInspection['identity'];
  /** How long each stage may take, in milliseconds. */
  readonly timeoutMs: number;
}

/** What was measured, for the report. */
export interface VmTargetReport {
  /** When the VM had been told to run, and did (performance.now()); null: it has not. */
  readonly runsAt: number | null;
  /** When QEMU says that it let the VM run, in milliseconds since 1970 by the clock of its host. */
  readonly resumedAt: number | null;
  /** What was done while it stood still, in order. */
  readonly laps: readonly Lap[];
}

/**
 * The VM that takes the place of another, as one more member of the group that moves. What it is given is QEMU's own
 * migration stream. When that is loaded, and its devices are, their registers in QEMU are set up; it runs last.
 */
export class VmTarget implements MigrationEnd {
  readonly name: string;
  readonly #options: VmTargetOptions;
  readonly #frames: FrameReader;
  readonly #pool = new BufferPool();
  #state: MigrationState | null = null;
  #socket: Socket | null = null;
  /** QEMU has closed its end. */
  #hungUp: VmError | null = null;
  /** It has, and there was more to come. */
  #broken: VmError | null = null;
  #record: VmRecord | null = null;
  #gone = false;
  #runsAt: number | null = null;
  readonly #stopwatch = new Stopwatch();

  constructor(options: VmTargetOptions) {
    this.name = options.name;
    this.#options = options;
    this.#frames = new FrameReader({
      vmm: (piece) => this.#pass(piece),
      record: (bytes) => {
        this.#record = decodeRecord(bytes);
      },
      end: () => this.#socket?.end(),
    });
  }

  /** What the engine calls around the blackout. */
  get hooks(): MigrationHooks {
    return { beforeRun: () => this.#setUpRegisters() };
  }

  get report(): VmTargetReport {
    const { laps } = this.#stopwatch;
    return { runsAt: this.#runsAt, resumedAt: this.#options.performer.timeOf('RESUME'), laps };
  }

  flags(): Promise<bigint> {
    return Promise.resolve(VM_FLAGS);
  }

  inspect(): Promise<EndInspection> {
    return Promise.resolve({ identity: this.#options.identity, busy: null });
  }

  async state(): Promise<number> {
    // What has been thrown away is as good as a VM that nobody has given anything.
    if (this.#gone) return RUNNING;
    // A QEMU that waits for more of a VM does not answer its monitor.
    if (this.#state === RESUMING && this.#hungUp === null) return RESUMING;
    return this.#options.performer.run(targetState(this.#state));
  }

  async setState(state: MigrationState): Promise<void> {
    if (state === RESUMING) await this.#options.performer.run(startIncoming(this.#incomingPath));
    else if (state === STOP) await this.#load();
    else if (state === RUNNING) await this.#run();
    this.#state = state;
  }

  read(): Promise<number> {
    return Promise.reject(new VmError('ERR_VM_REFUSED', 'a VM that is moved here gives no state'));
  }

  /** What QEMU does not take at once is copied and kept; the promise is for when it has. */
  async write(bytes: Uint8Array): Promise<void> {
    this.#frames.push(bytes);
    const socket = this.#socket;
    if (socket?.writableNeedDrain === true) await this.#drained(socket);
    const why = this.#broken === null ? null : await this.#why(this.#broken);
    if (why !== null) throw why;
  }

  precopyInfo(): Promise<null> {
    return Promise.resolve(null);
  }

  dataSize(): Promise<null> {
    return Promise.resolve(null);
  }

  /** A QEMU that was given part of a VM is of no use any more: it is ended. One that has ended already is not asked. */
  async reset(): Promise<void> {
    this.#socket?.destroy();
    try {
      await this.#options.performer.run(quit());
    } catch (error) {
      if (!(error instanceof VmError) || error.code !== 'ERR_VM_GONE') throw error;
    }
    this.#gone = true;
    this.#state = null;
  }

  /** Gives back what it holds; the VM stays as it is. */
  close(): void {
    this.#socket?.destroy();
  }

  get #incomingPath(): string {
    return join(this.#options.folder, 'incoming.sock');
  }

  /**
   * Only when there is something to say: from then on QEMU answers nothing else before it has everything. Then it hangs
   * up by itself, perhaps before the source has said that this was all.
   */
  #connect(): Socket {
    const socket = connect(this.#incomingPath);
    const hungUp = (cause?: unknown): void => {
      this.#hungUp ??= new VmError('ERR_VM_GONE', 'QEMU does not take the VM any more', {}, cause);
    };
    socket.on('error', hungUp).on('close', () => hungUp());
    socket.resume();
    return socket;
  }

  async #load(): Promise<void> {
    if (!this.#frames.ended || this.#record === null) {
      throw new VmError('ERR_VM_RECORD', 'what the source has sent of the VM is not all');
    }
    const { performer, timeoutMs } = this.#options;
    await this.#stopwatch.time('QEMU loads', performer.run(awaitLoaded(timeoutMs)));
  }

  async #run(): Promise<void> {
    // Whether it runs is looked at when its state is read.
    await this.#stopwatch.time('cont', this.#options.performer.run(letRun()));
    this.#runsAt = performance.now();
  }

  async #setUpRegisters(): Promise<void> {
    if (this.#record === null)
      throw new VmError('ERR_VM_RECORD', 'nothing is known of the devices of the VM');
    await this.#stopwatch.time('write registers', this.#options.performer.run(replay(this.#record)));
  }

  #pass(piece: Uint8Array): void {
    if (this.#state !== RESUMING) throw new VmError('ERR_VM_MIGRATION', 'QEMU does not wait for a VM');
    this.#broken ??= this.#hungUp;
    this.#socket ??= this.#connect();
    if (this.#broken === null) this.#copyTo(this.#socket, piece);
  }

  #copyTo(socket: Socket, piece: Uint8Array): void {
    for (let at = 0; at < piece.length; at += this.#pool.size) {
      const part = piece.subarray(at, at + this.#pool.size);
      const buffer = this.#pool.take();
      buffer.set(part);
      socket.write(buffer.subarray(0, part.length), () => this.#pool.give(buffer));
    }
  }

  #drained(socket: Socket): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        socket.off('drain', done).off('close', done);
        resolve();
      };
      socket.on('drain', done).on('close', done);
    });
  }

  /** QEMU says itself why it hung up, if it is still there; null when it has everything that it needs. */
  async #why(broken: VmError): Promise<VmError | null> {
    const answer = await this.#options.performer.run(qmp('query-migrate')).catch(() => null);
    if (textIn(answer, 'status') === 'completed') return null;
    const reason = textIn(answer, 'error-desc');
    return reason === null
      ? broken
      : new VmError('ERR_VM_MIGRATION', `QEMU could not take the VM: ${reason}`);
  }
}

/**
 * The migration state of a VM that is moved here, as QEMU has it. A QEMU that waits and was given nothing counts as
 * running, which is how a device is before it is given a state. `meant` is where this process has put it, or null.
 */
function* targetState(meant: MigrationState | null): VmSequence<MigrationState> {
  const found = yield* runState();
  if (found === 'running') return RUNNING;
  if (found === 'stopped') return meant === RUNNING_P2P ? meant : STOP;
  if (meant !== null && meant !== RESUMING) return ERROR;
  return textIn(yield* qmp('query-migrate'), 'status') === null ? RUNNING : RESUMING;
}

/** It answers, and then it is gone. */
function* quit(): VmSequence<void> {
  yield* qmp('quit');
}
