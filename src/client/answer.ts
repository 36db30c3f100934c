/** How a client waits: by blocking its thread, or with promises. */
export type Mode = 'sync' | 'async';

/** What a call gives: the value itself from a synchronous client, a promise of it from an asynchronous one. */
export type Answer<M extends Mode, T> = M extends 'sync' ? T : Promise<T>;
