/**
 * The states of the v2 migration interface (enum vfio_device_mig_state, linux/vfio.h). The numbers are the wire's.
 */
export const MigrationState = {
  /** The device failed and must be reset. */
  ERROR: 0,
  /** No DMA, no interrupts, no change of internal state; configuration space and MSI-X accesses are answered. */
  STOP: 1,
  /** Fully operational. */
  RUNNING: 2,
  /** Stopped, and its state can be read. */
  STOP_COPY: 3,
  /** Stopped, and its state is being written. */
  RESUMING: 4,
  /** Running, but starts no peer-to-peer DMA; incoming peer-to-peer DMA is still accepted. */
  RUNNING_P2P: 5,
  /** Running, and what does not change any more can be read. */
  PRE_COPY: 6,
  /** PRE_COPY without starting peer-to-peer DMA. */
  PRE_COPY_P2P: 7,
} as const;

/** The number of a state that this version knows. */
export type MigrationState = (typeof MigrationState)[keyof typeof MigrationState];

/** What a data session carries: the state out of the device (`saving`) or into it (`resuming`). */
export type SessionKind = 'saving' | 'resuming';

/** The state in which a device starts and which every reset restores, ERROR included (VFIO_DEVICE_RESET, linux/vfio.h). */
export const RESET_STATE: MigrationState = MigrationState.RUNNING;

const known = new Map<number, MigrationState>(Object.values(MigrationState).map((state) => [state, state]));
const names = new Map<number, string>(Object.entries(MigrationState).map(([name, state]) => [state, name]));

/**
 * The state that a number from the wire stands for, or null when it is none that this version knows. A peer of a
 * later revision may report new states while it passes through them (linux/vfio.h), so null is no error on GET.
 */
export function parseState(value: number): MigrationState | null {
  return known.get(value) ?? null;
}

/** The name of a state, such as `STOP_COPY`; `unknown state 9` for any other number. */
export function stateName(value: number): string {
  return names.get(value) ?? `unknown state ${value}`;
}

/** Whether the device advances its internal state: RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P. */
export function isRunning(state: MigrationState): boolean {
  return (
    state === MigrationState.RUNNING ||
    state === MigrationState.RUNNING_P2P ||
    state === MigrationState.PRE_COPY ||
    state === MigrationState.PRE_COPY_P2P
  );
}

/** Whether a saving session is open: PRE_COPY, PRE_COPY_P2P, STOP_COPY (the "saving group" of linux/vfio.h). */
export function isSaving(state: MigrationState): boolean {
  return sessionKind(state) === 'saving';
}

/**
 * Whether a device that can't tell peer-to-peer DMA from other DMA may start any: RUNNING and PRE_COPY. In the P2P
 * states such a device stops all of it, which linux/vfio.h allows.
 */
export function mayInitiateDma(state: MigrationState): boolean {
  return state === MigrationState.RUNNING || state === MigrationState.PRE_COPY;
}

/** The kind of data session that is open in a state, or null. One session spans the whole saving group. */
export function sessionKind(state: MigrationState): SessionKind | null {
  switch (state) {
    case MigrationState.PRE_COPY:
    case MigrationState.PRE_COPY_P2P:
    case MigrationState.STOP_COPY:
      return 'saving';
    case MigrationState.RESUMING:
      return 'resuming';
    default:
      return null;
  }
}
