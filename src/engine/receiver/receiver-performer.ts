import { type Channel, type Message, readSaved, type Source } from '../../channel/index.ts';
import type { WithheldConfiguration } from '../../journal/index.ts';
import { loadNative } from '../../native/index.ts';
import { Cancellation } from '../cancellation.ts';
import type { GuestMemoryTarget } from '../guest-memory/guest-memory.ts';
import { DONE, type SideOptions, SidePerformer } from '../side-performer.ts';
import type { Reply, Step } from '../step.ts';
import { messageOf, StepError } from '../step-error.ts';
import { type Total, Totals } from '../totals.ts';
import { Keeper } from './keeper.ts';

/** What the receiving side needs besides. */
export interface ReceiverOptions extends SideOptions {
  /** Chunks that devices have been given and have not yet taken, at most. */
  readonly window: number;
  readonly memory: GuestMemoryTarget | null;
  /** Where what arrives is kept besides; null: only in the devices. */
  readonly keep: Channel | null;
  /** Recovery: what was kept; null: nothing. */
  readonly kept: Source | null;
  /** Cancels; without effect once READY is being decided. */
  readonly signal?: AbortSignal | undefined;
}

/** The longest configuration space, in bytes: that of PCI Express. */
const MAX_KEPT = 4096;

/** Carries out the steps of a receiver: hands what arrives to the devices. */
export class ReceiverPerformer extends SidePerformer {
  readonly #options: ReceiverOptions;
  readonly #totals: Totals;
  readonly #keeper: Keeper;
  readonly #configurations = new Map<number, Uint8Array>();
  readonly #cancellation: Cancellation;
  /** It is too late to cancel. */
  #settled = false;
  #loading = false;
  #failed = false;
  #writing = 0;
  #bytes = 0;
  #lastBeat = 0;
  #watchdog: { close(): void } | null = null;
  #idle: (() => void) | null = null;
  #room: { readonly promise: Promise<void>; readonly open: () => void } | null = null;
  #openedAtMs = 0;
  #runningAtMs = 0;

  constructor(options: ReceiverOptions) {
    super(options, (message, body) => this.#take(message, body));
    this.#options = options;
    const checked = options.channel.peer.carrier !== 'memory';
    this.#totals = new Totals(options.devices.length, checked ? loadNative().crc32 : null);
    this.#cancellation = new Cancellation([options.signal]);
    this.#keeper = new Keeper(options.keep, (error) => this.#fail(error));
  }

  override async perform(step: Step): Promise<Reply> {
    this.#checkCancelled(step);
    switch (step.do) {
      case 'expect':
        return this.#expect(step);
      case 'load':
        this.#loading = true;
        return DONE;
      case 'drain':
        return this.#drain();
      case 'loadKept':
        await this.#loadKept();
        return DONE;
      case 'journal':
        // Whoever relies on READY relies on what is kept.
        if (step.decision === 'READY') await this.#keeper.finish();
        return super.perform(step);
      case 'totals':
        this.#loading = false;
        this.#compare(step.totals);
        return DONE;
      case 'times': {
        const { changes } = this.recorder;
        const [openedAtMs, runningAtMs] = [this.#openedAtMs, this.#runningAtMs];
        return { kind: 'times', times: { changes, openedAtMs, runningAtMs } };
      }
      case 'send':
        if (step.message.kind === 'OPENED') this.#openedAtMs = this.recorder.elapsedMs;
        return super.perform(step);
      default:
        return super.perform(step);
    }
  }

  /** From READY on only the source knows the outcome. What undoes a failure is not cancelled either. */
  #checkCancelled(step: Step): void {
    const isLate = step.do === 'journal' && step.decision === 'READY';
    this.#settled ||= isLate || (step.do === 'phase' && step.phase === 'roll-back');
    if (!this.#settled) this.#cancellation.check();
  }

  /** Whoever cancels need not wait for the source. */
  async #expect(step: Extract<Step, { do: 'expect' }>): Promise<Reply> {
    if (this.#settled) return super.perform(step);
    const stop = this.#cancellation.on((error) => this.conversation.interrupt(error));
    try {
      return await super.perform(step);
    } finally {
      stop();
    }
  }

  protected override stateChanged(device: number, state: number, ms: number): void {
    super.stateChanged(device, state, ms);
    this.#runningAtMs = this.recorder.elapsedMs;
  }

  override async close(): Promise<void> {
    this.#watchdog?.close();
    this.#failed = true;
    this.#keeper.discard();
    await super.close();
  }

  /** The last configuration of each device counts; one that no device has is not worth keeping. */
  protected override withheld(actions: readonly number[]): readonly WithheldConfiguration[] {
    return actions.flatMap((due, device) => {
      const configuration = this.#configurations.get(device);
      return due === 0 || configuration === undefined ? [] : [{ device, actions: due, configuration }];
    });
  }

  #take(message: Message, body: Uint8Array): boolean | Promise<void> {
    const room = this.#keeper.keep(message, body);
    const taken = this.#apply(message, body);
    if (room === null || taken === false) return taken;
    return taken === true ? room : Promise.all([room, taken]).then(() => {});
  }

  /** Data is taken inside the call that delivers it, so it is never copied here. */
  #apply(message: Message, body: Uint8Array): boolean | Promise<void> {
    switch (message.kind) {
      case 'DATA':
      case 'CONFIG':
      case 'MEMORY':
      case 'ZERO':
        break;
      default:
        return false;
    }
    if (this.#failed) return true;
    if (!this.#loading) return this.#refuse(`the source sent ${message.kind} when nothing is loaded`);
    this.#bytes += body.length;
    if (message.kind === 'DATA') return this.#data(message.device, body);
    if (message.kind === 'CONFIG') return this.#config(message.device, body, message.withheld);
    return this.#pages(message, body);
  }

  /** Gives the devices, which are in RESUMING, what was kept. It is verified as it is read. */
  async #loadKept(): Promise<void> {
    const { kept } = this.#options;
    if (kept === null)
      throw new StepError('ERR_STEP_FAILED', 'destination', 'nothing was kept of what was received');
    this.#loading = true;
    try {
      await readSaved(kept, async (message, body) => {
        const taken = this.#apply(message, body);
        if (taken !== true && taken !== false) await taken;
      });
    } catch (error) {
      const text = `what was kept can't be read: ${messageOf(error)}`;
      throw new StepError('ERR_STEP_FAILED', 'destination', text, error);
    }
    await this.#drain();
    this.#loading = false;
  }

  #data(index: number, body: Uint8Array): boolean | Promise<void> {
    const device = this.#options.devices[index];
    if (device === undefined)
      return this.#refuse(`the source sent data of a device ${index} that is not in the group`);
    this.#totals.add(index, body);
    this.recorder.moved(body.length);
    return this.#follow(device.write(body), index, 'refused data');
  }

  #config(index: number, body: Uint8Array, withheld: number): boolean | Promise<void> {
    const device = this.#options.devices[index];
    if (device?.writeConfiguration === undefined) {
      return this.#refuse(`the source sent configuration space that device ${index} does not take`);
    }
    if (body.length <= MAX_KEPT) this.#configurations.set(index, new Uint8Array(body));
    return this.#follow(device.writeConfiguration(body, withheld), index, 'refused its configuration');
  }

  #pages(
    message: Extract<Message, { readonly kind: 'MEMORY' | 'ZERO' }>,
    body: Uint8Array,
  ): boolean | Promise<void> {
    const { memory } = this.#options;
    const size = BigInt(memory?.regions[message.region] ?? 0);
    const length = message.kind === 'ZERO' ? message.length : BigInt(body.length);
    if (memory === null || message.offset > size || length > size - message.offset) {
      return this.#refuse('the source sent guest memory that is not there');
    }
    this.recorder.moved(body.length);
    try {
      return message.kind === 'ZERO'
        ? (memory.zeros(message.region, message.offset, length) ?? true)
        : (memory.pages(message.region, message.offset, body) ?? true);
    } catch (error) {
      return this.#refuse(`guest memory could not be written: ${messageOf(error)}`);
    }
  }

  /** Counts what is under way; with too much of it, nothing more is taken until there is room. */
  #follow(work: Promise<void>, device: number, what: string): boolean | Promise<void> {
    this.#writing += 1;
    if (this.#writing === 1) this.#beat();
    work.then(
      () => this.#written(),
      (cause) => this.#fail(this.calls.error(device, what, cause)),
    );
    if (this.#writing < this.#options.window) return true;
    this.#room ??= promise();
    return this.#room.promise;
  }

  #written(): void {
    this.#writing -= 1;
    this.#lastBeat = this.#options.clock.now();
    if (this.#writing === 0) this.#watchdog?.close();
    this.#room?.open();
    this.#room = null;
    if (this.#writing === 0) this.#idle?.();
  }

  #beat(): void {
    this.#lastBeat = this.#options.clock.now();
    this.#watchdog?.close();
    this.#watch(this.#options.timeoutMs);
  }

  /** Gives up when chunks are under way and none has been taken for too long. */
  #watch(ms: number): void {
    const { clock, timeoutMs } = this.#options;
    this.#watchdog = clock.after(ms, () => {
      const left = this.#lastBeat + timeoutMs - clock.now();
      if (left > 0) return this.#watch(left);
      const message = `the destination did not take data for ${timeoutMs} ms`;
      this.#fail(new StepError('ERR_STEP_TIMEOUT', 'destination', message));
    });
  }

  #refuse(message: string): true {
    this.#fail(new StepError('ERR_PEER_PROTOCOL', 'source', message));
    return true;
  }

  /** What arrives from now on is dropped; whoever waits learns why. */
  #fail(error: StepError): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#watchdog?.close();
    this.conversation.fail(error);
    this.#room?.open();
    this.#idle?.();
  }

  async #drain(): Promise<Reply> {
    if (this.#writing > 0 && !this.#failed) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
      this.#idle = null;
    }
    if (this.#failed) await this.conversation.hear([], { patient: false, skip: false });
    return { kind: 'bytes', bytes: BigInt(this.#bytes) };
  }

  #compare(totals: readonly Total[]): void {
    const own = this.#totals.rows;
    const same =
      own.length === totals.length &&
      own.every((mine, i) => {
        const theirs = totals[i];
        return (
          theirs?.device === mine.device && theirs.bytes === mine.bytes && theirs.checksum === mine.checksum
        );
      });
    if (same) return;
    const message = 'what has arrived is not what the source has sent';
    throw new StepError('ERR_STEP_UNVERIFIED', 'destination', message);
  }
}

function promise(): { promise: Promise<void>; open: () => void } {
  let open = (): void => {};
  const waiting = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { promise: waiting, open };
}
