import type { Activity } from './activity.ts';
import type { CommandLoop, Leftover } from './command-loop.ts';
import type { ErrorLog } from './error-log.ts';
import { type Events, NvmeEvent } from './events.ts';
import type { Features } from './features.ts';
import type { Interrupts } from './interrupts.ts';
import { chain, type Later, orElse } from './later.ts';
import { LARGEST_PAGE_SHIFT } from './limits.ts';
import type { NamespaceBackend } from './namespace.ts';
import type { Queues } from './queues.ts';
import { CC_MASK, ControllerConfiguration as Cc, ControllerStatus as Csts } from './registers.ts';
import type { NvmeState } from './state.ts';
import { Status } from './status.ts';

const SMALLEST_PAGE_SHIFT = 12;

/** What a controller consists of. */
export interface ControllerParts {
  readonly state: NvmeState;
  readonly backend: NamespaceBackend;
  readonly queues: Queues;
  readonly features: Features;
  readonly events: Events;
  readonly errors: ErrorLog;
  readonly interrupts: Interrupts;
  readonly activity: Activity;
  readonly loop: CommandLoop;
  /** Asks for {@link Controller.step}. */
  readonly kick: () => void;
  /** Is told what is wrong with the backend. */
  readonly note: (error: unknown) => void;
}

/** Bytes of a memory page, as CC says. */
export function pageSizeOf(cc: number): number {
  return 1 << Math.min(SMALLEST_PAGE_SHIFT + Cc.pageSize(cc), LARGEST_PAGE_SHIFT);
}

/**
 * Whether the controller works: enabling, disabling and shutting down (NVM Express 1.4, section 7.6). Registers only
 * note what the guest wants; {@link step} does it.
 */
export class Controller {
  readonly #parts: ControllerParts;
  #enabling = false;
  #shuttingDown = false;
  /** A state was loaded, and nobody knows whether its last interrupts have reached the guest. */
  #restored = false;

  constructor(parts: ControllerParts) {
    this.#parts = parts;
  }

  /** CSTS.RDY: the guest may use its queues. */
  get ready(): boolean {
    return (this.#parts.state.csts & Csts.READY) !== 0;
  }

  /** Whether commands are served. */
  get operational(): boolean {
    const { csts, resetting } = this.#parts.state;
    return (csts & (Csts.READY | Csts.FATAL)) === Csts.READY && !resetting;
  }

  /** Does what there is to do, as far as it can be done at once. */
  step(): Leftover {
    const { state, activity, loop, interrupts } = this.#parts;
    if (state.resetting && activity.count === 0) this.#reset();
    if (this.#mayEnable) this.#enable();
    if (!this.#shuttingDown && (state.csts & Csts.SHUTDOWN_OCCURRING) !== 0) this.#shutDown();
    if (this.#restored) interrupts.signalAll();
    this.#restored = false;
    return loop.run();
  }

  /** A write of CC. */
  configure(value: number): void {
    const { state, kick } = this.#parts;
    const before = state.cc;
    state.cc = value & CC_MASK;
    if ((before & Cc.ENABLE) !== 0 && (value & Cc.ENABLE) === 0) state.resetting = true;
    const shutdown = Cc.shutdown(value) !== 0 && Cc.shutdown(before) === 0;
    if (shutdown) state.csts = (state.csts & ~Csts.SHUTDOWN_MASK) | Csts.SHUTDOWN_OCCURRING;
    kick();
  }

  /** A write of a submission queue's doorbell. */
  ringSubmission(id: number, tail: number): void {
    if (!this.ready) return;
    const queue = this.#parts.queues.submission[id];
    if (!queue?.size) this.#complain(NvmeEvent.INVALID_DOORBELL, id);
    else if (queue.ring(tail)) this.#parts.kick();
    else this.#complain(NvmeEvent.INVALID_DOORBELL_VALUE, id);
  }

  /** A write of a completion queue's doorbell. */
  ringCompletion(id: number, head: number): void {
    if (!this.ready) return;
    const queue = this.#parts.queues.completion[id];
    if (!queue?.size) return this.#complain(NvmeEvent.INVALID_DOORBELL, id);
    if (!queue.ring(head)) return this.#complain(NvmeEvent.INVALID_DOORBELL_VALUE, id);
    if (queue.empty) this.#parts.interrupts.taken();
    if (!queue.awaited) return;
    queue.awaited = false;
    this.#parts.kick();
  }

  /** Nothing works any more until the guest resets the controller (CSTS.CFS). */
  fail(): void {
    this.#parts.state.csts |= Csts.FATAL;
  }

  /** Another state is in place. */
  restored(): void {
    this.#parts.queues.restored();
    this.#restored = true;
  }

  #complain(event: NvmeEvent, queue: number): void {
    this.#parts.errors.add({ queue, status: Status.INVALID_FIELD });
    this.#parts.events.happen(event);
    this.#parts.kick();
  }

  get #mayEnable(): boolean {
    const { cc, csts, resetting } = this.#parts.state;
    const settled = (csts & (Csts.READY | Csts.FATAL)) !== 0;
    return (cc & Cc.ENABLE) !== 0 && !settled && !resetting && !this.#enabling;
  }

  #enable(): void {
    if (!this.#configurationIsSound) return this.fail();
    this.#enabling = true;
    const { activity, backend, note } = this.#parts;
    const resumed = orElse(false, () => chain(backend.resume(), () => true), note);
    const enabled = chain(resumed, (success) => {
      this.#enabling = false;
      if (this.#parts.state.resetting) return;
      if (success) this.#start();
      else this.fail();
    });
    if (enabled instanceof Promise) activity.follow(enabled);
  }

  get #configurationIsSound(): boolean {
    const { cc, aqa, asq, acq } = this.#parts.state;
    const pageShift = SMALLEST_PAGE_SHIFT + Cc.pageSize(cc);
    const offset = BigInt(pageSizeOf(cc) - 1);
    const supported = Cc.commandSet(cc) === 0 && Cc.arbitration(cc) === 0 && pageShift <= LARGEST_PAGE_SHIFT;
    const sized = (aqa & 0xfff) > 0 && aqa >>> 16 > 0;
    return supported && sized && (asq & offset) === 0n && (acq & offset) === 0n;
  }

  #start(): void {
    const { state, queues } = this.#parts;
    queues.submission[0]?.create(state.asq, (state.aqa & 0xfff) + 1, 0);
    queues.completion[0]?.create(state.acq, (state.aqa >>> 16) + 1, 0, true);
    state.csts |= Csts.READY;
  }

  /** CC.EN was cleared, and nothing is in progress: the guest's memory is left alone from now on. */
  #reset(): void {
    const { state, queues, features, events, interrupts } = this.#parts;
    queues.removeAll();
    features.reset();
    events.reset();
    state.interruptMask = 0;
    state.csts = 0;
    state.resetting = false;
    interrupts.taken();
  }

  #shutDown(): void {
    this.#shuttingDown = true;
    const { activity, backend, note } = this.#parts;
    const flushed: Later<void> = this.ready ? orElse(undefined, () => backend.flush(), note) : undefined;
    const ended = chain(flushed, () => this.#shutdownComplete());
    if (ended instanceof Promise) activity.follow(ended);
  }

  #shutdownComplete(): void {
    const { state } = this.#parts;
    this.#shuttingDown = false;
    if ((state.csts & Csts.SHUTDOWN_OCCURRING) === 0) return;
    state.csts = (state.csts & ~Csts.SHUTDOWN_MASK) | Csts.SHUTDOWN_COMPLETE;
  }
}
