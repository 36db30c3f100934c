import { bool, bytes, type LiveState, memory, u8, u16, u32, u64 } from '../../device/index.ts';
import { FEATURES } from './feature-table.ts';
import { ERROR_ENTRIES, EVENT_REQUESTS, QUEUES, VECTORS } from './limits.ts';
import { ERROR_ENTRY } from './log-layouts.ts';

/** Everything of a controller that matters, so that it can stop at one place and go on at another. */
export type NvmeState = LiveState<ReturnType<typeof nvmeShape>>;

/** Declares {@link NvmeState}, with `ram` bytes of a namespace in RAM, or null where that is elsewhere. */
export function nvmeShape(ram: number | null) {
  return {
    ...registers(),
    ...queues(),
    ...counters(),
    /** The values of FEATURES, in that order. */
    features: u32({ length: FEATURES.length, initial: FEATURES.map(({ initial }) => initial) }),
    /** Coalescing Disable of each vector. */
    uncoalesced: u8({ length: VECTORS }),
    /** Command ids of the asynchronous event requests that are outstanding. */
    eventRequests: u16({ length: EVENT_REQUESTS }),
    eventRequestCount: u8(),
    /** Events that wait for a request, and events that wait for their log page to be read: bits of EVENTS. */
    eventsPending: u32(),
    eventsMasked: u32(),
    ...identity(),
    ...(ram === null ? {} : { ram: memory(ram, { onReset: 'keep' }) }),
  };
}

function registers() {
  return {
    cc: u32(),
    csts: u32(),
    interruptMask: u32(),
    aqa: u32(),
    asq: u64(),
    acq: u64(),
    /** CC.EN was cleared, and something is in progress that has to end before RDY may go. */
    resetting: bool(),
  };
}

function queues() {
  return {
    submissionAddress: u64({ length: QUEUES }),
    /** Entries; 0 where there is no queue. */
    submissionSize: u16({ length: QUEUES }),
    /** What is fetched next. */
    submissionHead: u16({ length: QUEUES }),
    submissionTail: u16({ length: QUEUES }),
    /** The completion queue that belongs to it. */
    submissionTarget: u16({ length: QUEUES }),
    completionAddress: u64({ length: QUEUES }),
    completionSize: u16({ length: QUEUES }),
    completionHead: u16({ length: QUEUES }),
    /** What is written next, and with which phase tag. */
    completionTail: u16({ length: QUEUES }),
    completionPhase: u8({ length: QUEUES }),
    completionVector: u16({ length: QUEUES }),
    /** Interrupts enabled. */
    completionInterrupts: u8({ length: QUEUES }),
  };
}

function counters() {
  return {
    /** 512-byte units. */
    unitsRead: u64(),
    unitsWritten: u64(),
    commandsRead: u64(),
    commandsWritten: u64(),
    mediaErrors: u64(),
    errors: u64(),
    /** The error information log, the entry of error n at (n - 1) modulo its length. */
    errorLog: bytes(ERROR_ENTRIES * ERROR_ENTRY.size),
  };
}

/** Who the namespace is: a guest that finds another one in its place takes it for another disk. */
function identity() {
  return { serial: bytes(20), uuid: bytes(16), blocks: u64(), blockSize: u32() };
}
