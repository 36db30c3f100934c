import { type MigrationMachine, MigrationState, stateName } from '../../../states/index.ts';
import { specification, uapi } from '../../rule.ts';
import { demand, notApplicable } from '../../verdict.ts';
import type { Wire } from '../../wire/wire.ts';
import { failed, getState, outcomeOf, refused, trySetState } from '../ask.ts';
import { bring, claimedMachine, comeBack, idOf, REACHABLE, runningMigrator } from '../driving.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';

const { ERROR, RUNNING, RESUMING } = MigrationState;
const ARCS = specification('VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: direct and complex state transitions');

/** Tries one change from where the device is, and what the state is afterwards. */
async function tryChange(
  wire: Wire,
  from: MigrationState,
  to: MigrationState,
  allowed: boolean,
): Promise<void> {
  const change = `${stateName(from)} to ${stateName(to)}`;
  const reply = await trySetState(wire, to);
  const now = await getState(wire);
  if (!allowed) {
    refused(reply, change);
    demand(
      now === from,
      `${change} was refused, and the device is in ${stateName(now)} now`,
      stateName(from),
    );
    return;
  }
  // A device may refuse to leave RESUMING with incomplete data, wherever that leads it.
  if (from === RESUMING && to !== RESUMING && failed(reply)) return;
  demand(!failed(reply), `${change} was refused with ${outcomeOf(reply)}`, 'success');
  demand(now === to, `after ${change} the device is in ${stateName(now)}`, stateName(to));
}

/** Every change from one state, each from a device that has just come there. */
async function everyChange(world: ServerWorld, from: MigrationState): Promise<void> {
  const machine = claimedMachine(world);
  const wire = await runningMigrator(world);
  for (const to of machine.states) {
    if (to === ERROR) continue;
    await bring(wire, from);
    await tryChange(wire, from, to, to === from || isAllowed(machine, from, to));
    await comeBack(wire);
  }
}

function isAllowed(machine: MigrationMachine, from: MigrationState, to: MigrationState): boolean {
  try {
    machine.path(from, to);
    return true;
  } catch {
    return false;
  }
}

/** One rule for each state from which changes are tried. */
const fromEach: readonly ServerRule[] = REACHABLE.map(([from, needs]) =>
  serverRule({
    ...{
      id: `states.from-${idOf(from)}`,
      severity: 'must',
      clause: ARCS,
      needs: ['spawn', 'migration', ...needs],
    },
    title: `From ${stateName(from)} the device goes where the state machine of its flags leads, and nowhere else`,
    why: 'a VMM that is told a state by mistake takes the device for stopped while it runs, or the other way round',
    check: (world) => everyChange(world, from),
  }),
);

/** The state machine of migration. */
export const statesRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'states.initial', severity: 'must', needs: ['spawn', 'migration'] },
    clause: uapi('linux/vfio.h, enum vfio_device_mig_state: the device begins in RUNNING'),
    title: 'A device begins in RUNNING',
    why: 'clients that know nothing of migration never change the state, and would get a device that stands still',
    async check(world) {
      const other = await world.second();
      const state = await getState(await other.open());
      demand(state === RUNNING, `a fresh device is in ${stateName(state)}`, 'RUNNING');
    },
  }),
  ...fromEach,
  serverRule({
    ...{ id: 'states.error-refused', severity: 'must', needs: ['spawn', 'migration'] },
    clause: specification('ERROR cannot be specified as a device state'),
    title: 'ERROR can not be asked for',
    why: 'it would be a way to break a device that works',
    async check(world) {
      const wire = await runningMigrator(world);
      refused(await trySetState(wire, ERROR), 'a change to ERROR');
      const state = await getState(wire);
      demand(state === RUNNING, `the device is in ${stateName(state)} then`, 'RUNNING, as before');
    },
  }),
  serverRule({
    ...{ id: 'states.unknown-refused', severity: 'must', needs: ['spawn', 'migration'] },
    clause: specification('VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE: the states'),
    title: 'Numbers that are no state are refused, and change nothing',
    why: 'the number comes from outside; behind the table of states there is other memory',
    async check(world) {
      const wire = await runningMigrator(world);
      for (const number of [8, 9, 0xabcd, 0x8000_0002, 0xffff_ffff]) {
        refused(await trySetState(wire, number), `a change to state ${number}`);
        const state = await getState(wire);
        demand(state === RUNNING, `the device is in ${stateName(state)} then`, 'RUNNING, as before');
      }
    },
  }),
  serverRule({
    ...{ id: 'states.unclaimed-refused', severity: 'must', needs: ['spawn', 'migration'] },
    clause: specification(
      'VFIO_DEVICE_FEATURE_MIGRATION: support for additional states is indicated via the flags',
    ),
    title: 'States that the flags do not claim are refused',
    why: 'a device that goes there by accident has no way back that a VMM knows',
    async check(world) {
      const machine = claimedMachine(world);
      const absent = REACHABLE.map(([state]) => state).filter((state) => !machine.has(state));
      if (absent.length === 0) notApplicable('the device claims every state');
      const wire = await runningMigrator(world);
      for (const state of absent) refused(await trySetState(wire, state), `a change to ${stateName(state)}`);
    },
  }),
];
