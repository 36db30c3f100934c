/** A member of a value that came as JSON; undefined when there is none. */
export function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.getOwnPropertyDescriptor(value, name)?.value;
}

/** A member that is a text, else null. */
export function textIn(value: unknown, name: string): string | null {
  const found = member(value, name);
  return typeof found === 'string' ? found : null;
}

/** A member that is a whole number from 0, else null. */
export function countIn(value: unknown, name: string): number | null {
  const found = member(value, name);
  return typeof found === 'number' && Number.isSafeInteger(found) && found >= 0 ? found : null;
}

/** A member that is a list; an empty one otherwise. */
export function listIn(value: unknown, name: string): readonly unknown[] {
  return listOf(member(value, name));
}

/** A list; an empty one for anything else. */
export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
