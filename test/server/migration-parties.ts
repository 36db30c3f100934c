import { errnoName, FerryError } from '../../src/errors/index.ts';

/** Whoever asks. */
export class Party {
  readonly name: string;
  constructor(name: string) {
    this.name = name;
  }
}

/** The outcome of a call: 'ok', or the name of its errno. */
export function outcomeOf(call: () => unknown): string {
  try {
    call();
    return 'ok';
  } catch (error) {
    return errnoOf(error);
  }
}

/** The name of an error's errno. */
export function errnoOf(error: unknown): string {
  return error instanceof FerryError ? errnoName(error.errno) : `no errno: ${String(error)}`;
}
