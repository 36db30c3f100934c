import { EVENT_REQUESTS } from './limits.ts';
import { LogPage } from './opcodes.ts';
import type { NvmeState } from './state.ts';
import { Status } from './status.ts';

/** An asynchronous event (NVM Express 1.4, section 5.2): type, information, and the log page that acknowledges it. */
interface EventKind {
  readonly type: number;
  readonly information: number;
  readonly logPage: number;
}

/** Events of the type error. */
const ERROR = 0;

/** What can happen; the order is that of the bits in the state. */
const EVENTS: readonly EventKind[] = [
  { type: ERROR, information: 0x00, logPage: LogPage.ERRORS },
  { type: ERROR, information: 0x01, logPage: LogPage.ERRORS },
];

/** The places of the events in {@link EVENTS}. */
export const NvmeEvent = {
  /** A doorbell of a queue that does not exist was written. */
  INVALID_DOORBELL: 0,
  /** A doorbell was written with a value that is no entry of its queue. */
  INVALID_DOORBELL_VALUE: 1,
} as const;
export type NvmeEvent = (typeof NvmeEvent)[keyof typeof NvmeEvent];

/**
 * Asynchronous events and the requests that wait for them. An event is reported once; then its type is silent until
 * the guest has read the log page that says more.
 */
export class Events {
  readonly #state: NvmeState;

  constructor(state: NvmeState) {
    this.#state = state;
  }

  /** A request is outstanding from now on; SUCCESS, or the status that refuses it. */
  request(commandId: number): number {
    const { eventRequests, eventRequestCount } = this.#state;
    if (eventRequestCount >= EVENT_REQUESTS) return Status.EVENT_REQUEST_LIMIT;
    eventRequests[eventRequestCount] = commandId;
    this.#state.eventRequestCount = eventRequestCount + 1;
    return Status.SUCCESS;
  }

  /** Takes back a request; false when there is none with this id. */
  withdraw(commandId: number): boolean {
    const { eventRequests, eventRequestCount } = this.#state;
    const index = eventRequests.subarray(0, eventRequestCount).indexOf(commandId);
    if (index < 0) return false;
    eventRequests.copyWithin(index, index + 1, eventRequestCount);
    this.#state.eventRequestCount = eventRequestCount - 1;
    return true;
  }

  /** Something happened. It waits until there is a request. */
  happen(event: NvmeEvent): void {
    this.#state.eventsPending |= 1 << event;
  }

  /** Whether {@link take} would find a request and an event to report. */
  get due(): boolean {
    return this.#state.eventRequestCount > 0 && this.#reportable !== 0;
  }

  /** The request that is answered, and dword 0 of its completion; null when nothing is {@link due}. */
  take(): { readonly commandId: number; readonly result: number } | null {
    const index = 31 - Math.clz32(this.#reportable & -this.#reportable);
    const kind = EVENTS[index];
    const commandId = this.#state.eventRequests[0];
    if (!this.due || kind === undefined || commandId === undefined) return null;
    this.withdraw(commandId);
    this.#state.eventsPending &= ~(1 << index);
    for (const [i, { type }] of EVENTS.entries()) if (type === kind.type) this.#state.eventsMasked |= 1 << i;
    return { commandId, result: kind.type | (kind.information << 8) | (kind.logPage << 16) };
  }

  /** The guest has read a log page: the events that it tells more of may be reported again. */
  acknowledge(logPage: number): void {
    for (const [i, kind] of EVENTS.entries()) {
      if (kind.logPage === logPage) this.#state.eventsMasked &= ~(1 << i);
    }
  }

  /** Controller reset: requests are gone, and so is what happened. */
  reset(): void {
    this.#state.eventRequestCount = 0;
    this.#state.eventsPending = 0;
    this.#state.eventsMasked = 0;
  }

  get #reportable(): number {
    return this.#state.eventsPending & ~this.#state.eventsMasked;
  }
}
