import { MigrationState, stateName } from '../../../states/index.ts';
import { specification } from '../../rule.ts';
import { broken, demand } from '../../verdict.ts';
import { fields } from '../../wire/bytes.ts';
import { failed, getState, trySetState, tryWriteData } from '../ask.ts';
import { bring, comeBack, runningMigrator, savedCopy } from '../driving.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';

const { STOP, RUNNING, RESUMING } = MigrationState;
const needs = ['spawn', 'migration'] as const;

/** Demands that a state with these data can't be left for STOP, or that the writing of them fails already. */
async function refusesState(world: ServerWorld, what: string, data: Uint8Array): Promise<void> {
  world.closeWires();
  const wire = await runningMigrator(world);
  await bring(wire, RESUMING);
  for (let at = 0; at < data.length; at += 4096) {
    if (failed(await tryWriteData(wire, data.subarray(at, at + 4096)))) return comeBack(wire);
  }
  const reply = await trySetState(wire, STOP);
  const state = await getState(wire);
  await comeBack(wire);
  if (failed(reply))
    demand(state !== STOP && state !== RUNNING, `the device is in ${stateName(state)}`, 'RESUMING or ERROR');
  else broken(`${what} was taken for a whole state`, 'an error of MIG_DATA_WRITE, or of the change to STOP');
}

/** States that are none. */
export const dataRefusedRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'data.incomplete', severity: 'must', needs },
    clause: specification('RESUMING -> STOP: if the data is found to be incomplete, fail the SET command'),
    title: 'A state without its last byte is refused, at the latest on the way to STOP',
    why: 'a device that runs with half a state damages what its guest has',
    async check(world) {
      const data = await savedCopy(world);
      await refusesState(world, 'a state without its last byte', data.subarray(0, -1));
      await refusesState(world, 'half a state', data.subarray(0, data.length >> 1));
    },
  }),
  serverRule({
    ...{ id: 'data.empty', severity: 'must', needs },
    clause: specification('RESUMING -> STOP: if the data is found to be incomplete, fail the SET command'),
    title: 'No state at all is refused on the way to STOP',
    why: 'a migration whose data got lost would end with a device that knows nothing',
    async check(world) {
      await savedCopy(world);
      await refusesState(world, 'nothing', fields());
    },
  }),
  serverRule({
    ...{ id: 'data.garbage', severity: 'hardening', needs },
    clause: specification('RESUMING -> STOP: if the data is found to be inconsistent, or otherwise invalid'),
    title: 'Bytes that are no state are refused',
    why: 'they come from another host: what is believed of them decides what happens in this one',
    async check(world) {
      const { length } = await savedCopy(world);
      await refusesState(
        world,
        'garbage',
        Uint8Array.from({ length }, (_, at) => (at * 89 + 7) & 0xff),
      );
      await world.stillServes('garbage in place of a state');
    },
  }),
  serverRule({
    ...{ id: 'data.damaged', severity: 'hardening', needs },
    clause: specification('RESUMING -> STOP: if the data is found to be inconsistent, or otherwise invalid'),
    title: 'A state with one bit that is wrong is refused',
    why: 'a bit that flips on the way is found nowhere else',
    async check(world) {
      const data = await savedCopy(world);
      for (const at of [0, data.length >> 1, data.length - 1]) {
        const damaged = Uint8Array.from(data);
        damaged[at] = (damaged[at] ?? 0) ^ 0x10;
        await refusesState(world, `a state with one bit wrong at byte ${at} of ${data.length}`, damaged);
      }
    },
  }),
  serverRule({
    ...{ id: 'data.too-long', severity: 'hardening', needs },
    clause: specification('RESUMING -> STOP: if the data is found to be inconsistent, or otherwise invalid'),
    title: 'A state with bytes behind its end is refused',
    why: 'two states that were mixed up look like this',
    async check(world) {
      const data = await savedCopy(world);
      await refusesState(
        world,
        'a state with 64 bytes behind its end',
        Buffer.concat([data, new Uint8Array(64)]),
      );
    },
  }),
];
