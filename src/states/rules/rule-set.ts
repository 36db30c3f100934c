import type { DriverAction } from '../v1/driver-actions.ts';

/**
 * What a rule set says of a change: `allowed`; `refused`; or `unlisted`, where the source gives examples and leaves open
 * whether there are more ("are any other state transitions valid?").
 */
export type Verdict = 'allowed' | 'unlisted' | 'refused';

/** One step of a change: what happens between two states that the device is seen in. */
export interface RuleStep {
  /** The state before, by the numbers of the rule set. */
  readonly from: number;
  /** The state after. */
  readonly to: number;
  /** What a driver does, in order. */
  readonly actions: readonly DriverAction[];
  /** What the device must have done when the step is over, in sentences. */
  readonly duties: readonly string[];
  /** A new data session begins (v2: the kernel returns a new data_fd; v1: the data window is initialised). */
  readonly opensSession: boolean;
  /** The data session ends. */
  readonly endsSession: boolean;
}

/** The answer to one question: may a device go from one state to another? */
export interface Judgement {
  readonly verdict: Verdict;
  /** The states after the first, up to the one asked for; empty when refused, or when nothing changes. */
  readonly path: readonly number[];
  /** One step for each state of the path. An unlisted change has them too: they are what it would mean. */
  readonly steps: readonly RuleStep[];
  /** Why it is not allowed; null when it is. */
  readonly reason: string | null;
  /** What else is known of this change, in sentences. */
  readonly remarks: readonly string[];
}

/** A state as a rule set names it. */
export interface RuleState {
  /** The number on the wire: device_state of v1, enum vfio_device_mig_state of v2. */
  readonly code: number;
  /** Such as `PRE_COPY`; `invalid 101` for a number that is no state. */
  readonly name: string;
  /** Whether a device can be in it. */
  readonly valid: boolean;
}

/** A published set of rules for changes of the migration state, or one that is deployed. */
export interface RuleSet {
  /** Short and stable, such as `v1-uapi` or `v2-7`. */
  readonly id: string;
  /** One line for people. */
  readonly title: string;
  /** Where the rules are written. */
  readonly source: string;
  /** Whose numbers the states have. */
  readonly interface: 'v1' | 'v2';
  /** All numbers that the rules know, in ascending order, invalid ones and ERROR included. */
  readonly states: readonly RuleState[];
  /** The state in which a device starts and which a reset restores. */
  readonly resetState: number;
  /** Judges a change. Any numbers may be asked for; one that is no state is refused. Never throws. */
  judge(from: number, to: number): Judgement;
}

/** A judgement without a way. */
export function refused(reason: string, remarks: readonly string[] = []): Judgement {
  return { verdict: 'refused', path: [], steps: [], reason, remarks };
}
