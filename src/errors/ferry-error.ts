/** Where an error happened: which command, state, field, byte, path. Values are printable as they are. */
export type ErrorContext = Readonly<Record<string, string | number | bigint | boolean | null>>;

/** What every Ferry error carries besides its message. */
export interface ErrorDetails {
  /** Linux errno (positive) that this error maps to on the wire. */
  readonly errno: number;
  /** Which command, which state, which byte. */
  readonly context?: ErrorContext;
  /** The error underneath, if there is one. */
  readonly cause?: unknown;
}

/**
 * The base of every error that Ferry throws. `code` is stable across releases; the message is for people and
 * says what to do next where that is known.
 */
export class FerryError extends Error {
  /** Stable identifier, `ERR_...`. */
  readonly code: string;
  /** Linux errno (positive) that this error maps to on the wire. */
  readonly errno: number;
  /** Where it happened. */
  readonly context: ErrorContext;

  constructor(code: `ERR_${string}`, message: string, details: ErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.errno = details.errno;
    this.context = details.context ?? {};
  }
}
