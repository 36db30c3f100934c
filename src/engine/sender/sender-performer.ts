import type { Message } from '../../channel/index.ts';
import { loadNative } from '../../native/index.ts';
import { Cancellation } from '../cancellation.ts';
import type { Controlled, MigrationControl, MigrationStatus } from '../control.ts';
import type { GuestMemorySink, GuestMemorySource } from '../guest-memory/guest-memory.ts';
import type { MigrationLimits } from '../limits.ts';
import { Pump } from '../pump.ts';
import { DONE, type SideOptions, SidePerformer } from '../side-performer.ts';
import type { Decision, Reply, Step } from '../step.ts';
import { StepError } from '../step-error.ts';
import { Totals } from '../totals.ts';
import { within } from '../within.ts';
import { chunkSize } from './chunk-size.ts';
import { estimateDowntime, fittingBytes, type Survey } from './convergence.ts';
import { Measurements } from './measurements.ts';

/** What the sending side needs besides. */
export interface SenderOptions extends SideOptions {
  readonly control: MigrationControl;
  readonly signal: AbortSignal | undefined;
  readonly limits: MigrationLimits;
  readonly chunkBytes: number;
  readonly window: number;
  readonly memory: GuestMemorySource | null;
}

/** Carries out the steps of a sender: reads devices, and sends. */
export class SenderPerformer extends SidePerformer implements Controlled {
  readonly #options: SenderOptions;
  readonly #measured = new Measurements();
  readonly #totals: Totals;
  readonly #cancellation: Cancellation;
  #syncId = 0;
  #decided = false;
  #waiting = false;
  #stoppedAt: number | null = null;
  #openedAtMs = 0;
  #rounds = 0;

  constructor(options: SenderOptions) {
    super(options, () => false);
    this.#options = options;
    this.#cancellation = new Cancellation([options.signal, options.control.signal]);
    const checked = options.channel.peer.carrier !== 'memory';
    this.#totals = new Totals(options.devices.length, checked ? loadNative().crc32 : null);
    options.control.attach(this, options.limits);
    options.channel.limitRate(this.limits.bytesPerSecond);
  }

  /** The limits that hold now. */
  get limits(): MigrationLimits {
    return this.#options.control.limits(this.#options.limits);
  }

  /** Where the destination's devices are, as far as known. */
  get destinationName(): string {
    return this.conversation.channel.peer.address;
  }

  /** When the destination said OPENED. */
  get openedAtMs(): number {
    return this.#openedAtMs;
  }

  limitsChanged({ bytesPerSecond }: MigrationLimits): void {
    this.conversation.channel.limitRate(bytesPerSecond);
  }

  status(): MigrationStatus {
    return { ...this.recorder.progress, waiting: this.#waiting, limits: this.limits };
  }

  override async perform(step: Step): Promise<Reply> {
    this.#checkCancelled(step);
    switch (step.do) {
      case 'journal':
        this.#decided ||= step.decision === 'COMMIT' || step.decision === 'ABORT';
        return super.perform(step);
      case 'hook':
        if (step.hook === 'beforeStop') this.#stoppedAt = this.#options.clock.now();
        if (step.hook === 'resume') this.#stoppedAt = null;
        return super.perform(step);
      case 'copy':
        return this.#copy(step);
      case 'memory':
        return this.#memory(step.what);
      case 'configuration':
        return this.#configuration(step.device, step.withheld);
      case 'complete':
        await this.conversation.say({
          kind: 'COMPLETE',
          group: step.group,
          epoch: step.epoch,
          totals: this.#totals.rows,
        });
        return DONE;
      case 'survey':
        return this.#survey(step.left);
      case 'gate':
        return this.#gate();
      case 'expect':
        return this.#expect(step);
      default:
        return super.perform(step);
    }
  }

  /** A caller who cancels need not wait for an answer, as long as nothing is decided. */
  async #expect(step: Extract<Step, { do: 'expect' }>): Promise<Reply> {
    const stop = this.#decided
      ? () => {}
      : this.#cancellation.on((error) => this.conversation.interrupt(error));
    try {
      const reply = await super.perform(step);
      if (step.kinds.includes('OPENED')) this.#openedAtMs = this.recorder.elapsedMs;
      return reply;
    } finally {
      stop();
    }
  }

  protected override stateChanged(device: number, state: number, ms: number): void {
    super.stateChanged(device, state, ms);
    this.#measured.arc(ms);
  }

  protected override madeDurable(_decision: Decision, ms: number): void {
    this.#measured.record(ms);
  }

  #checkCancelled(step: Step): void {
    if (step.do === 'phase' && step.phase === 'roll-back') this.#decided = true;
    if (!this.#decided) this.#cancellation.check();
  }

  async #copy(step: Extract<Step, { do: 'copy' }>): Promise<Reply> {
    const { clock } = this.#options;
    const started = clock.now();
    this.#rounds = step.iteration;
    this.recorder.beginCopy(step.iteration, step.rest);
    const pump = this.#pump(step);
    const interrupt = new AbortController();
    const disarm = this.#interruptible((error) => {
      pump.fail(error);
      interrupt.abort(error);
    }, step.withinLimit);
    try {
      const { bytes, dry } = await pump.run();
      const memory = await this.#copyMemory(step, interrupt.signal);
      disarm();
      await this.#sync();
      const copied = { bytes: bytes + memory, dry, ms: clock.now() - started };
      this.#measured.copied(copied);
      if (step.iteration > 0) this.recorder.round({ ...copied, before: step.rest });
      return { kind: 'copied', copied };
    } finally {
      disarm();
    }
  }

  #pump(step: Extract<Step, { do: 'copy' }>): Pump {
    const { clock, devices, window, timeoutMs } = this.#options;
    return new Pump(step.orders, {
      ...{ clock, devices, window, timeoutMs },
      chunkBytes: chunkSize(this.#options.chunkBytes, this.limits.bytesPerSecond),
      forward: (device, chunk) => this.#forward({ kind: 'DATA', device }, chunk),
      failed: (device, cause) => this.calls.error(device, 'could not deliver data', cause),
    });
  }

  /** Counted before it is sent: the view may be gone then. */
  #forward(message: Message & { readonly kind: 'DATA' }, chunk: Uint8Array): Promise<void> | null {
    this.#totals.add(message.device, chunk);
    const room = this.conversation.say(message, chunk);
    this.recorder.moved(chunk.length);
    return room;
  }

  /** What ends it is thrown to the memory at the next page that it wants to send. */
  async #copyMemory(step: Extract<Step, { do: 'copy' }>, interrupt: AbortSignal): Promise<number> {
    const { memory } = this.#options;
    if (memory === null) return 0;
    let bytes = 0;
    const sink: GuestMemorySink = {
      pages: (region, offset, page) => {
        interrupt.throwIfAborted();
        bytes += page.length;
        this.recorder.moved(page.length);
        return this.conversation.say({ kind: 'MEMORY', region, offset }, page);
      },
      zeros: (region, offset, length) => {
        interrupt.throwIfAborted();
        return this.conversation.say({ kind: 'ZERO', region, offset, length });
      },
    };
    await memory.copy(sink, Number.POSITIVE_INFINITY, step.iteration === 0);
    return bytes;
  }

  /** What was sent counts when it is loaded. */
  async #sync(): Promise<void> {
    const { clock } = this.#options;
    const started = clock.now();
    this.#syncId += 1;
    await this.conversation.say({ kind: 'SYNC', id: this.#syncId });
    const reply = await this.conversation.hear(['SYNCED'], { patient: false, skip: false });
    if (reply.kind !== 'SYNCED' || reply.id !== this.#syncId) {
      throw new StepError('ERR_PEER_PROTOCOL', 'destination', 'the destination answered another SYNC');
    }
    this.#measured.roundTrip(clock.now() - started);
  }

  /** Ends what is under way when the caller cancels, the other side gives up, or the blackout lasts too long. */
  #interruptible(fail: (error: StepError) => void, withinLimit: boolean): () => void {
    const stop = this.#cancellation.on(fail);
    this.conversation.watch(fail);
    const timer = withinLimit && !this.limits.allowUnknownSize ? this.#deadline(fail) : null;
    return () => {
      stop();
      this.conversation.watch(null);
      timer?.close();
    };
  }

  #deadline(fail: (error: StepError) => void): { close(): void } | null {
    if (this.#stoppedAt === null) return null;
    const { clock } = this.#options;
    const { downtimeMs } = this.limits;
    return clock.after(Math.max(0, this.#stoppedAt + downtimeMs - clock.now()), () => {
      const what = `a device can't tell how much there is to move, and the guest has stood still for ${downtimeMs} ms`;
      const message = `${what}: allow a longer downtime, or allow unknown sizes`;
      fail(new StepError('ERR_DOWNTIME_LIMIT', 'source', message));
    });
  }

  async #memory(what: 'start' | 'rest' | 'stop'): Promise<Reply> {
    const { memory, clock, timeoutMs } = this.#options;
    const late = (): StepError =>
      new StepError('ERR_STEP_TIMEOUT', 'source', `guest memory: no answer in ${timeoutMs} ms`);
    if (what === 'rest') {
      const rest = memory === null ? 0n : await within(clock, timeoutMs, memory.rest(), late);
      return { kind: 'bytes', bytes: rest };
    }
    if (memory !== null) await within(clock, timeoutMs, memory[what](), late);
    return DONE;
  }

  async #configuration(device: number, withheld: number): Promise<Reply> {
    const { devices, clock, timeoutMs } = this.#options;
    const late = new StepError(
      'ERR_STEP_TIMEOUT',
      'source',
      `the source did not tell its configuration in ${timeoutMs} ms`,
    );
    const reading = devices[device]?.readConfiguration?.() ?? Promise.resolve(new Uint8Array(0));
    let bytes: Uint8Array;
    try {
      bytes = await within(clock, timeoutMs, reading, () => late);
    } catch (error) {
      throw error === late ? late : this.calls.error(device, 'did not tell its configuration', error);
    }
    await this.conversation.say({ kind: 'CONFIG', device, withheld }, bytes);
    return DONE;
  }

  #survey(left: number | null): Reply {
    const { bytesPerMs, overheadMs } = this.#measured;
    const survey: Survey = { limits: this.limits, bytesPerMs, overheadMs };
    this.recorder.assessed({
      ...{ round: this.#rounds, left, fits: fittingBytes(survey) },
      estimatedDowntimeMs: estimateDowntime(left, survey),
      downtimeLimitMs: survey.limits.downtimeMs,
    });
    return { kind: 'survey', survey, holding: this.#options.control.holding };
  }

  /** Waits as long as the caller wants it to; anything that ends the migration ends that too. */
  async #gate(): Promise<Reply> {
    const { control } = this.#options;
    if (!control.holding) return DONE;
    this.#waiting = true;
    let disarm = (): void => {};
    try {
      await new Promise<void>((resolve, reject) => {
        disarm = this.#interruptible(reject, false);
        void control.released().then(resolve);
      });
    } finally {
      disarm();
      this.#waiting = false;
    }
    return DONE;
  }
}
