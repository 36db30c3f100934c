/** A field of a value that came as JSON; undefined when there is none. */
export function field(value: unknown, ...path: readonly string[]): unknown {
  let inner = value;
  for (const name of path) {
    if (typeof inner !== 'object' || inner === null) return undefined;
    inner = Object.getOwnPropertyDescriptor(inner, name)?.value;
  }
  return inner;
}

/** A text in a value that came as JSON; null when there is none. */
export function textAt(value: unknown, ...path: readonly string[]): string | null {
  const found = field(value, ...path);
  return typeof found === 'string' ? found : null;
}

/** A number in a value that came as JSON; null when there is none. */
export function numberAt(value: unknown, ...path: readonly string[]): number | null {
  const found = field(value, ...path);
  return typeof found === 'number' ? found : null;
}

/** Whether a value that came as JSON says true there. */
export function isTrueAt(value: unknown, ...path: readonly string[]): boolean {
  return field(value, ...path) === true;
}
