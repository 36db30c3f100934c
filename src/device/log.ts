/** How much a log tells, from least to most; each level includes those before it. */
export const LOG_LEVELS = ['error', 'warning', 'info', 'debug'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** One line of a log. */
export interface LogEntry {
  readonly level: LogLevel;
  readonly message: string;
}

/** Takes lines. What it throws is dropped: logging does not change what is served. */
export type LogSink = (entry: LogEntry) => void;

/** What is logged: a text, or a function that makes it, which is called only if the level is on. */
export type LogText = string | (() => string);

/** A log with a level. A line that the level leaves out costs a comparison. */
export class Log {
  /** Takes nothing. */
  static readonly OFF = new Log(null, () => {});
  /** Whether the lowest level is on: for those who would not even make a function for nothing. */
  readonly debugs: boolean;
  readonly #most: number;
  readonly #sink: LogSink;

  /** `level`: the most that is told; null: nothing. */
  constructor(level: LogLevel | null, sink: LogSink) {
    this.#most = level === null ? -1 : LOG_LEVELS.indexOf(level);
    this.debugs = level === 'debug';
    this.#sink = sink;
  }

  /** Something has failed. */
  error(text: LogText): void {
    if (this.#most >= 0) this.#write('error', text);
  }

  /** Something is not as it should be, and things go on. */
  warning(text: LogText): void {
    if (this.#most >= 1) this.#write('warning', text);
  }

  /** Something that happens seldom, such as a reset. */
  info(text: LogText): void {
    if (this.#most >= 2) this.#write('info', text);
  }

  /** Something that happens often, such as a command. */
  debug(text: LogText): void {
    if (this.#most >= 3) this.#write('debug', text);
  }

  #write(level: LogLevel, text: LogText): void {
    try {
      this.#sink({ level, message: typeof text === 'string' ? text : text() });
    } catch {
      // There is nobody whom a log that fails could be told.
    }
  }
}
