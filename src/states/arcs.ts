import { MigrationFlag } from './migration-flags.ts';
import { isSaving, MigrationState, sessionKind } from './migration-state.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;

/** One step that a device carries out as a whole: it succeeds, or leaves the device in `from`. */
export interface Arc {
  /** The state before. */
  readonly from: MigrationState;
  /** The state after. */
  readonly to: MigrationState;
  /** A new data session begins: a saving one, or a resuming one (the kernel returns a new data_fd here). */
  readonly opensSession: boolean;
  /** The data session ends: later reads and writes of it fail with ENODEV. */
  readonly endsSession: boolean;
  /** What the device must have done when the arc returns, in order; more than one where a missing P2P state is merged. */
  readonly duties: readonly string[];
}

/**
 * The 15 arcs of the full machine and what a device must have done when each returns (the comment on enum
 * vfio_device_mig_state in linux/vfio.h). Everything else is a combination of these.
 */
export const FULL_ARCS: readonly (readonly [from: MigrationState, to: MigrationState, duty: string])[] = [
  [PRE_COPY, RUNNING, 'Abandon the saving session; keep running.'],
  [PRE_COPY, PRE_COPY_P2P, 'Stop starting peer-to-peer DMA and complete what is outstanding.'],
  [PRE_COPY_P2P, PRE_COPY, 'Allow peer-to-peer DMA again.'],
  [PRE_COPY_P2P, RUNNING_P2P, 'Abandon the saving session; peer-to-peer DMA stays stopped.'],
  [
    PRE_COPY_P2P,
    STOP_COPY,
    'Stop as for STOP; the same saving session now also yields what changed and the rest.',
  ],
  [
    RESUMING,
    STOP,
    'Verify that the state written is complete, apply it and end the session; fail if it is not.',
  ],
  [
    RUNNING,
    PRE_COPY,
    'Open a saving session that yields state while the device runs; begin to track changes.',
  ],
  [RUNNING, RUNNING_P2P, 'Stop starting peer-to-peer DMA and complete what is outstanding.'],
  [RUNNING_P2P, PRE_COPY_P2P, 'Open a saving session as for PRE_COPY; peer-to-peer DMA stays stopped.'],
  [RUNNING_P2P, RUNNING, 'Allow peer-to-peer DMA again.'],
  [
    RUNNING_P2P,
    STOP,
    'Stop: no DMA, no interrupts, no change of internal state. Configuration space and MSI-X are still answered.',
  ],
  [STOP, RESUMING, 'Open a resuming session that takes a whole new internal state.'],
  [STOP, RUNNING_P2P, 'Run again, without starting peer-to-peer DMA.'],
  [STOP, STOP_COPY, 'Open a saving session; the internal state stays frozen while it is read.'],
  [STOP_COPY, STOP, 'End the saving session; stay stopped.'],
];

/**
 * The arcs that a device with these flags implements. The PRE_COPY states are taken out when it lacks them. Its
 * missing P2P states are contracted instead, that is merged with the state they refine, since "the states behave as
 * though the device was fully running if not supported" (linux/vfio.h): without them RUNNING would not reach STOP.
 */
export function arcsFor(flags: number): readonly Arc[] {
  const hasP2p = (flags & MigrationFlag.P2P) !== 0;
  const hasPreCopy = (flags & MigrationFlag.PRE_COPY) !== 0;
  const arcs: Arc[] = [];
  for (const [fullFrom, fullTo] of FULL_ARCS) {
    if (!hasPreCopy && (isPreCopy(fullFrom) || isPreCopy(fullTo))) continue;
    const from = hasP2p ? fullFrom : contractP2p(fullFrom);
    const to = hasP2p ? fullTo : contractP2p(fullTo);
    if (from === to || arcs.some((arc) => arc.from === from && arc.to === to)) continue;
    arcs.push(describeArc(from, to, hasP2p));
  }
  return arcs;
}

/**
 * What a device must do on one of its arcs. On an arc of a device without P2P states this includes what it would do on
 * the way into and out of the states that are merged. Empty for what is no arc.
 */
export function dutiesOf(
  from: MigrationState,
  to: MigrationState,
  { p2p }: { readonly p2p: boolean },
): readonly string[] {
  const direct = dutyOf(from, to);
  if (direct !== null) return [direct];
  if (p2p) return [];
  for (const [fullFrom, fullTo, duty] of FULL_ARCS) {
    if (contractP2p(fullFrom) !== from || contractP2p(fullTo) !== to) continue;
    return [dutyOf(from, fullFrom), duty, dutyOf(fullTo, to)].filter((each) => each !== null);
  }
  return [];
}

function dutyOf(from: MigrationState, to: MigrationState): string | null {
  return FULL_ARCS.find(([fullFrom, fullTo]) => fullFrom === from && fullTo === to)?.[2] ?? null;
}

/** Whether both ends lie in the saving group, inside which one session goes on. */
export function isInsideSaving(from: MigrationState, to: MigrationState): boolean {
  return isSaving(from) && isSaving(to);
}

function describeArc(from: MigrationState, to: MigrationState, p2p: boolean): Arc {
  const before = sessionKind(from);
  const after = sessionKind(to);
  return {
    from,
    to,
    opensSession: after !== null && after !== before,
    endsSession: before !== null && after !== before,
    duties: dutiesOf(from, to, { p2p }),
  };
}

function isPreCopy(state: MigrationState): boolean {
  return state === PRE_COPY || state === PRE_COPY_P2P;
}

function contractP2p(state: MigrationState): MigrationState {
  if (state === RUNNING_P2P) return RUNNING;
  if (state === PRE_COPY_P2P) return PRE_COPY;
  return state;
}
