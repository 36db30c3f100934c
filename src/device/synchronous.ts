/**
 * What a callback that has to be synchronous may return: anything but a promise. TypeScript lets an async function
 * stand in for `() => void`, so `void` alone would not keep it out.
 */
export type Synchronous =
  // biome-ignore lint/suspicious/noConfusingVoidType: callbacks without a return statement are the common case
  void | undefined | null | boolean | number | bigint | string | { readonly then?: never };

/** Whether a callback has returned a promise after all. */
export function isPromise(value: unknown): value is PromiseLike<unknown> {
  return typeof value === 'object' && value !== null && 'then' in value && typeof value.then === 'function';
}
