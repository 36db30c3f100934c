import type { MemoryBlock } from './state/index.ts';

/** What a process holds for a device beside its state, such as a file or a socket, on its way to another process. */
export interface Possessions {
  /** Whatever is to be known about the fds; up to 1 MiB. */
  readonly data: Uint8Array;
  readonly fds: readonly number[];
}

/** Nothing at all. */
export const NO_POSSESSIONS: Possessions = { data: new Uint8Array(0), fds: [] };

/** How far a timer that ticks again and again has come. */
export interface TimerPhase {
  /** From one tick to the next, in milliseconds. */
  readonly ms: number;
  /** Until the next tick, in milliseconds. */
  readonly leftMs: number;
}

/** A memory block that clients may have mapped: it is handed over as it is. */
export interface HandedBlock {
  /** The block's qualified name. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  readonly fd: number;
  /** Whether a client has been given the fd. */
  readonly exposed: boolean;
}

/** A part of a device's state as two processes compare it. */
export interface PartVersion {
  readonly name: string;
  readonly version: number;
  readonly oldest: number;
}

/**
 * How a device passes from one process to another of the same host while its VMM stays connected. Its state travels as in a
 * migration; this is about what a migration leaves behind.
 */
export interface DeviceHandover {
  /** The versions of its state. */
  readonly parts: readonly PartVersion[];
  /** The blocks that are handed over as they are. */
  readonly shared: readonly { readonly name: string; readonly size: number }[];
  /** The names of all blocks of its state. */
  readonly blocks: readonly string[];
  /** From now on sessions leave these blocks out, and the device stops in order to be handed over. */
  begin(lent: readonly string[]): void;
  /** Saves the fields of its state and throws that away, in any state: nothing changes, and nobody is told. */
  practise(): void;
  /** What there is, of a device that has stopped; fds stay the device's. Throws what the author threw. */
  give(): { blocks: readonly HandedBlock[]; timers: readonly TimerPhase[]; possessions: Possessions };
  /** Takes memory and timers over, in RESUMING and before the fields come. The fds are the device's from then on. */
  adopt(blocks: readonly HandedBlock[], timers: readonly TimerPhase[]): void;
  /** Takes over what the author's code has given, when the state is there. The fds are the device's from then on. */
  take(possessions: Possessions): void;
  /** It is over, wherever the device goes on. Here: {@link adopt} the timers that {@link give} has told. */
  end(): void;
}

/** The author's part of a hand-over. */
export interface HandoverHooks {
  give(): Possessions;
  take(possessions: Possessions): void;
}

/** The blocks that have an fd. */
export function sharedBlocks(blocks: readonly MemoryBlock[]): readonly MemoryBlock[] {
  return blocks.filter(({ fd }) => fd !== null);
}
