import { Command, DeviceInfo, RegionIndex } from '../../../protocol/index.ts';
import { MigrationState, stateName } from '../../../states/index.ts';
import { specification, uapi } from '../../rule.ts';
import { demand, given, notApplicable } from '../../verdict.ts';
import { equal, fields } from '../../wire/bytes.ts';
import type { Wire } from '../../wire/wire.ts';
import { ask, failed, getState, goTo, read, trySetState, worked } from '../ask.ts';
import { bring, ORDINARY, readAll, saved, writeAll } from '../driving.ts';
import { leaveMarks, readMarks } from '../marks.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, PRE_COPY } = MigrationState;
const LOAD = specification('VFIO_USER_MIG_DATA_WRITE; RESUMING -> STOP');
const needs = ['spawn', 'second', 'migration'] as const;

/** Loads a state into another device and has it run. */
async function load(wire: Wire, data: Uint8Array): Promise<void> {
  await bring(wire, RESUMING);
  await writeAll(wire, data, ORDINARY);
  worked(await trySetState(wire, STOP), 'the change from RESUMING to STOP, with the whole state,');
  worked(await trySetState(wire, RUNNING), 'the change from STOP to RUNNING');
}

/** The main connection of a world, and the one that migrates. */
async function both(world: ServerWorld): Promise<{ readonly main: Wire; readonly mover: Wire }> {
  const main = await world.open();
  const mover = await world.migrator(main);
  if ((await getState(mover)) !== RUNNING) await bring(mover, RUNNING);
  return { main, mover };
}

/** A device that is moved whole, from one instance to another. */
export const moveRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'move.accepted', severity: 'must', clause: LOAD, needs },
    title: 'A second instance takes the state of the first, and runs',
    why: 'it is what all of this is for',
    async check(world) {
      const source = await both(world);
      const destination = await both(await world.second());
      const data = await saved(source.mover);
      await load(destination.mover, data);
      const state = await getState(destination.mover);
      demand(state === RUNNING, `the second instance is in ${stateName(state)}`, 'RUNNING');
    },
  }),
  serverRule({
    ...{ id: 'move.content', severity: 'must', clause: LOAD, needs },
    title: 'After a move the second instance reads what the first did',
    why: 'a guest goes on with what it had written to its device',
    async check(world) {
      const source = await both(world);
      const destination = await both(await world.second());
      const marks = await leaveMarks(world, source.main);
      if (marks.length === 0) notApplicable('nothing is known of the registers, and no region can be mapped');
      const data = await saved(source.mover);
      await given('the move', () => load(destination.mover, data));
      for (const [index, seen] of (await readMarks(world, destination.main)).entries()) {
        const mark = marks[index] ?? fields();
        const found = `the second instance reads ${Buffer.from(seen).toString('hex')}`;
        demand(equal(seen, mark), found, `${Buffer.from(mark).toString('hex')}, as in the first`);
      }
    },
  }),
  serverRule({
    ...{
      id: 'move.pre-copy',
      severity: 'must',
      clause: specification('PRE_COPY -> STOP_COPY'),
      needs: [...needs, 'precopy'],
    },
    title: 'What changes after PRE_COPY was read reaches the second instance',
    why: 'the guest runs on in PRE_COPY; what it writes then must not be lost',
    async check(world) {
      const source = await both(world);
      const destination = await both(await world.second());
      await bring(source.mover, PRE_COPY);
      const early = await given('reading', () => readAll(source.mover, ORDINARY));
      const marks = await leaveMarks(world, source.main);
      if (marks.length === 0) notApplicable('nothing is known of the registers, and no region can be mapped');
      await given('a change to STOP_COPY', () => goTo(source.mover, STOP_COPY));
      const late = await given('reading', () => readAll(source.mover, ORDINARY));
      await given('the move', () => load(destination.mover, Buffer.concat([early, late])));
      const same = (await readMarks(world, destination.main)).every((seen, at) =>
        equal(seen, marks[at] ?? fields()),
      );
      demand(same, 'the second instance does not have what was written in PRE_COPY', 'what the first had');
    },
  }),
  serverRule({
    ...{ id: 'move.same-device', severity: 'must', clause: LOAD, needs },
    title: 'After a move the second instance has the same regions and the same identity',
    why: 'a driver in the guest goes on with the device that it knows',
    async check(world) {
      const source = await both(world);
      const other = await world.second();
      const destination = await both(other);
      const describe = async (wire: Wire): Promise<Uint8Array> =>
        Buffer.concat([
          await ask(wire, Command.DEVICE_GET_INFO, fields(DeviceInfo.size, 0, 0, 0)),
          await read(wire, RegionIndex.CONFIG, 0n, 4),
        ]);
      const before = await given('asking', () => describe(source.main));
      await given('the move', async () => load(destination.mover, await saved(source.mover)));
      demand(
        equal(await describe(destination.main), before),
        'the second instance is another device',
        'the same',
      );
    },
  }),
  serverRule({
    ...{ id: 'move.source-goes-on', severity: 'must', needs: ['spawn', 'migration'] },
    clause: uapi('linux/vfio.h: STOP_COPY -> STOP -> RUNNING'),
    title: 'A device that was saved runs on when the migration is given up, and still has what it had',
    why: 'a migration that fails must leave the guest as it was',
    async check(world) {
      const { main, mover } = await both(world);
      const marks = await leaveMarks(world, main);
      await saved(mover);
      const reply = await trySetState(mover, RUNNING);
      demand(!failed(reply), 'it can not be set running again', 'success');
      const same = (await readMarks(world, main)).every((seen, at) => equal(seen, marks[at] ?? fields()));
      demand(same, 'registers or memory have changed', 'what they had before');
    },
  }),
];
