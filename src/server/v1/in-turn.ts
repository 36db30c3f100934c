/** Calls `step` for each item, one after the other; answers synchronously as long as every step does. */
export function inTurn<T>(
  items: readonly T[],
  step: (item: T) => void | Promise<void>,
): void | Promise<void> {
  for (const [index, item] of items.entries()) {
    const pending = step(item);
    if (pending !== undefined) return pending.then(() => inTurn(items.slice(index + 1), step));
  }
}

/** `work`, or what `instead` does when it fails; synchronously when `work` is. */
export function otherwise(
  work: () => void | Promise<void>,
  instead: (error: unknown) => void | Promise<void>,
): void | Promise<void> {
  let pending: void | Promise<void>;
  try {
    pending = work();
  } catch (error) {
    return instead(error);
  }
  return pending?.catch(instead);
}
