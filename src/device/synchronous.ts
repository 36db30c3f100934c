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

/** Whether this is a function declared as async, which returns a promise whenever it is called. */
export function isAsyncFunction(value: unknown): boolean {
  return typeof value === 'function' && value.constructor.name === 'AsyncFunction';
}
