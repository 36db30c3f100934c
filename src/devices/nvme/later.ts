/**
 * A value that may be there at once. Guest memory and a namespace answer at once where they can, and then nothing on
 * the way of a command makes a promise.
 */
export type Later<T> = T | Promise<T>;

/** Goes on with `next` when the value is there: now, if it is. */
export function chain<T, R>(value: Later<T>, next: (value: T) => Later<R>): Later<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/** Calls `act`; a throw and a rejection become `failure`, and `note` is told of the error. */
export function orElse<T>(failure: T, act: () => Later<T>, note?: (error: unknown) => void): Later<T> {
  const fail = (error: unknown): T => {
    note?.(error);
    return failure;
  };
  try {
    const value = act();
    return value instanceof Promise ? value.catch(fail) : value;
  } catch (error) {
    return fail(error);
  }
}

/**
 * Starts `act` for each index below `count` without waiting in between, and settles when all have ended. Throws or
 * rejects if one of them has failed; none goes on then.
 */
export function all(count: number, act: (index: number) => Later<void>): Later<void> {
  const pending: Promise<void>[] = [];
  for (let index = 0; index < count; index++) {
    const result = act(index);
    if (result instanceof Promise) pending.push(result);
  }
  if (pending.length > 0) return settled(pending);
}

async function settled(pending: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(pending)) {
    if (result.status === 'rejected') throw result.reason;
  }
}
