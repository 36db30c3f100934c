import type { Arc } from '../arcs.ts';
import { type MigrationMachine, migrationMachine, refusedBecause } from '../machine.ts';
import { MigrationFlag } from '../migration-flags.ts';
import { RESET_STATE, stateName } from '../migration-state.ts';
import { StateError } from '../state-error.ts';
import { driverActions } from '../v1/driver-actions.ts';
import { fsmBits, renumberFromV2 } from '../v1/fsm.ts';
import { type Judgement, type RuleSet, type RuleStep, refused } from './rule-set.ts';

/** The four sets of flags with which migration can be used. */
const FLAG_SETS = [
  MigrationFlag.STOP_COPY,
  MigrationFlag.STOP_COPY | MigrationFlag.P2P,
  MigrationFlag.STOP_COPY | MigrationFlag.PRE_COPY,
  MigrationFlag.STOP_COPY | MigrationFlag.P2P | MigrationFlag.PRE_COPY,
];

/** The rules of v2, one set for each set of migration flags. */
export const V2_RULES: readonly RuleSet[] = FLAG_SETS.map((flags) => v2Rules(migrationMachine(flags)));

function v2Rules(machine: MigrationMachine): RuleSet {
  const flags = Object.entries(MigrationFlag).filter(([, bit]) => (machine.flags & bit) !== 0);
  return {
    id: `v2-${machine.flags}`,
    title: `v2 with ${flags.map(([name]) => name).join(', ')}`,
    source: 'linux/vfio.h, enum vfio_device_mig_state; Linux since 5.18, PRE_COPY since 6.2',
    interface: 'v2',
    states: machine.states.map((code) => ({ code, name: stateName(code), valid: true })),
    resetState: RESET_STATE,
    judge: (from, to) => judge(machine, from, to),
  };
}

function judge(machine: MigrationMachine, from: number, to: number): Judgement {
  try {
    const path = machine.path(from, to);
    const steps = path.map((state, index) => stepOf(machine, path[index - 1] ?? from, state));
    return { verdict: 'allowed', path, steps, reason: null, remarks: [] };
  } catch (error) {
    if (!(error instanceof StateError)) throw error;
    return refused(error.code === 'ERR_STATE_REFUSED' ? refusedBecause(from, to) : error.message);
  }
}

function stepOf(machine: MigrationMachine, from: number, to: number): RuleStep {
  const arc: Arc | undefined = machine.arcs.find((known) => known.from === from && known.to === to);
  return {
    from,
    to,
    actions: driverActions(fsmBits(renumberFromV2(from)), fsmBits(renumberFromV2(to)), { ndma: true }),
    duties: arc?.duties ?? [],
    opensSession: arc?.opensSession === true,
    endsSession: arc?.endsSession === true,
  };
}
