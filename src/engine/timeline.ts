import type { MessageKind } from '../channel/index.ts';
import type { SidePlan } from './plan.ts';
import type { MigrationEvent, Recorder } from './recorder.ts';
import type { PhaseReport, ProgressSample } from './report.ts';
import type { Iteration } from './sender/convergence.ts';
import type { StateChange } from './side-report.ts';
import type { EndName } from './step.ts';

/** Something worth a mark: what was decided durably, said between the sides, or a way that was lost and made anew. */
export type Milestone = Extract<MigrationEvent, { readonly type: 'decision' | 'message' | 'reconnected' }>;

/** What was known at a moment at which it was to be decided whether to switch. */
export interface Assessment {
  /** Milliseconds since the migration began. */
  readonly atMs: number;
  /** Rounds of PRE_COPY before it. */
  readonly round: number;
  /** Bytes left, those that move only after the stop included; null when nobody could tell. */
  readonly left: number | null;
  /** Bytes that would have fitted into the downtime that was allowed; null before anything was measured. */
  readonly fits: number | null;
  /** How long the blackout would have been, in milliseconds; null when that could not be told. */
  readonly estimatedDowntimeMs: number | null;
  /** How long it was allowed to be then, in milliseconds. */
  readonly downtimeLimitMs: number;
}

/**
 * How a migration went, as data: what a report draws. In the time of one side, milliseconds since it began. At most a
 * few thousand entries of each kind, however long it took: of samples every second one is dropped, of the others those
 * in the middle.
 */
export interface Timeline {
  /** Names the migration: 32 hex digits. */
  readonly group: string;
  /** Which side tells it. Phases, samples, rounds and messages are this one's. */
  readonly side: EndName;
  /** When it began, by the clock of its host: ISO 8601, UTC. */
  readonly startedAt: string;
  readonly totalMs: number;
  /** How the devices are called, by number; null when that side is not known here. */
  readonly devices: {
    readonly source: readonly string[] | null;
    readonly destination: readonly string[] | null;
  };
  /** The changes of state of the source's devices. Empty when it has not told. */
  readonly source: readonly StateChange[];
  /** Likewise of the destination's. */
  readonly destination: readonly StateChange[];
  readonly phases: readonly PhaseReport[];
  readonly milestones: readonly Milestone[];
  readonly samples: readonly ProgressSample[];
  /** The rounds of PRE_COPY. */
  readonly rounds: readonly Iteration[];
  readonly assessments: readonly Assessment[];
}

/** Messages that say no more than that all goes on. */
const ROUTINE: ReadonlySet<MessageKind> = new Set([
  'SYNC',
  'SYNCED',
  'INITIAL',
  'INITIAL_LOADED',
  'ACTIONS',
] satisfies readonly MessageKind[]);

/** Whether an event is worth a mark. */
export function isMilestone(event: MigrationEvent): event is Milestone {
  if (event.type === 'message') return !ROUTINE.has(event.kind);
  return event.type === 'decision' || event.type === 'reconnected';
}

/** What one side can tell of itself, at any moment. */
export function timelineOf(side: EndName, recorder: Recorder, plan: SidePlan): Timeline {
  const { names: own, peer, group } = plan;
  const other = peer.devices;
  const { startedAt, elapsedMs, phases, milestones, samples, rounds, assessments, changes } = recorder;
  const isSource = side === 'source';
  return {
    ...{ group, side, startedAt, totalMs: elapsedMs, phases, milestones, samples, rounds, assessments },
    devices: { source: isSource ? own : other, destination: isSource ? other : own },
    source: isSource ? changes : [],
    destination: isSource ? [] : changes,
  };
}

/** The source's timeline with what the destination has told of its devices; its times are `shiftMs` earlier. */
export function withDestination(
  timeline: Timeline,
  changes: readonly StateChange[],
  shiftMs: number,
): Timeline {
  const moved = changes.map((change) => ({ ...change, atMs: Math.max(0, change.atMs + shiftMs) }));
  return { ...timeline, destination: moved };
}

/** Both sides of a migration within one process. They have begun in the same moment, by the same clock. */
export function together(source: Timeline, { devices, destination, milestones }: Timeline): Timeline {
  const decided = milestones.filter(({ type }) => type === 'decision');
  return {
    ...withDestination(source, destination, 0),
    devices: { ...source.devices, destination: devices.destination },
    milestones: [...source.milestones, ...decided].sort((a, b) => a.atMs - b.atMs),
  };
}
