import {
  Conversation,
  eventJson,
  eventLines,
  type Figures,
  type Filter,
  messageJson,
  messageLines,
  parseFilter,
  type TraceEvent,
  TraceSummary,
} from '../../trace/index.ts';
import { print, toJson } from '../output/terminal.ts';
import type { ShowOptions } from './show-options.ts';
import { TERMINAL_STYLE } from './style.ts';

/** Lines that are printed at once. */
const BATCH = 100;

/** Shows the events of a trace as the options say. */
export class TraceView {
  readonly #conversation = new Conversation();
  readonly #summary = new TraceSummary();
  readonly #filter: Filter | null;
  readonly #options: ShowOptions;
  readonly #quiet: boolean;
  #lines: string[] = [];

  /**
   * `quiet`: only figures are kept.
   * @throws TraceError ERR_TRACE_FILTER
   */
  constructor(options: ShowOptions, quiet = false) {
    this.#options = options;
    this.#quiet = quiet || options.summary === true;
    this.#filter = options.filter === undefined ? null : parseFilter(options.filter);
  }

  /** Takes the next event; its lines are printed with others, at the latest by {@link flush}. */
  show(event: TraceEvent): void {
    if (event.kind !== 'message') return this.#showEvent(event);
    const told = this.#conversation.tell(event);
    if (this.#filter?.(told) === false) return;
    this.#summary.see(event);
    this.#summary.tell(told);
    if (this.#quiet) return;
    if (this.#options.json === true) this.#add([toJson(messageJson(told))]);
    else this.#add(messageLines(told, this.#lineOptions));
  }

  /** Prints what has been gathered. */
  flush(): void {
    if (this.#lines.length === 0) return;
    print(this.#lines.join('\n'));
    this.#lines = [];
  }

  #add(lines: readonly string[]): void {
    this.#lines.push(...lines);
    if (this.#lines.length >= BATCH) this.flush();
  }

  get #lineOptions() {
    return { style: TERMINAL_STYLE, fields: this.#options.fields === true };
  }

  /** What has passed so far, as far as the filter lets it. */
  figures(): Figures {
    return this.#summary.figures();
  }

  #showEvent(event: Exclude<TraceEvent, { kind: 'message' }>): void {
    this.#summary.see(event);
    // Both sides have ended: nothing is waited for any more.
    if (event.kind === 'ended' && event.from === 'server') this.#conversation.ended(event.connection);
    if (this.#quiet || (this.#filter !== null && event.kind !== 'bytes')) return;
    if (this.#options.json === true) this.#add([toJson(eventJson(event))]);
    else this.#add(eventLines(event, this.#lineOptions));
  }
}
