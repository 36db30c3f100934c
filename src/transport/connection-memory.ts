/** The messages of a connection are received and built here. */
export interface ConnectionMemory {
  readonly received: Uint8Array;
  readonly sent: Uint8Array;
}

/** For what comes, or has to go, with the longest message, in bytes. */
const ROOM = 64 * 1024;

/** How much is received at once, in bytes. `longest` is the longest message, header included. */
export function receivedSize(longest: number): number {
  return longest + ROOM;
}

/** How much waits to be sent, in bytes. `longest` is the longest message, header included. */
export function sentSize(longest: number): number {
  return 2 * longest + ROOM;
}

/**
 * Makes it before the connection is there: so much memory takes the runtime its time, and may have it collect garbage first,
 * which a peer should not have to wait for.
 */
export function connectionMemory(longest: number): ConnectionMemory {
  return { received: new Uint8Array(receivedSize(longest)), sent: new Uint8Array(sentSize(longest)) };
}

/** The memory that was made before, if it has this size; otherwise new. */
export function memoryOf(size: number, prepared: Uint8Array | undefined): Uint8Array {
  return prepared?.length === size ? prepared : new Uint8Array(size);
}
