import { Command, DeviceInfoFlag, RegionIndex } from '../../../protocol/index.ts';
import { MigrationState, stateName } from '../../../states/index.ts';
import { practice, specification, uapi } from '../../rule.ts';
import { demand, given, notApplicable } from '../../verdict.ts';
import { fields, u32At } from '../../wire/bytes.ts';
import type { Wire } from '../../wire/wire.ts';
import { getState, read, refused, tryReadData, worked, write } from '../ask.ts';
import { bring, idOf, REACHABLE, runningMigrator } from '../driving.ts';
import { type ServerRule, serverRule } from '../server-rule.ts';
import type { ServerWorld } from '../world.ts';
import { map, unmap } from './dma.ts';

const RESET = specification('VFIO_USER_DEVICE_RESET');
const { RUNNING, STOP_COPY } = MigrationState;
/** PCI configuration space: COMMAND, with the bits that let a device answer and do DMA. */
const COMMAND_REGISTER = 0x04n;
const ENABLED = 0x0006;

async function reset(wire: Wire): Promise<Uint8Array> {
  return worked(await wire.request(Command.DEVICE_RESET, fields()), 'DEVICE_RESET');
}

function demandResettable({ facts }: ServerWorld): void {
  if ((facts.deviceFlags & DeviceInfoFlag.RESET) === 0) notApplicable('the device says that it has no reset');
}

/** One rule for each state in which a reset is tried. */
const inEach: readonly ServerRule[] = REACHABLE.map(([state, needs]) =>
  serverRule({
    ...{ id: `reset.in-${idOf(state)}`, severity: 'must', needs: ['spawn', 'migration', ...needs] },
    clause: uapi('linux/vfio.h, VFIO_DEVICE_RESET: returns to RUNNING; vfio-user.rst: to recover from ERROR'),
    title: `A reset in ${stateName(state)} works, and leads to RUNNING`,
    why: 'a VMM that has lost track of a migration has no other way to get its device back',
    async check(world) {
      demandResettable(world);
      const wire = await runningMigrator(world);
      await bring(wire, state);
      await reset(wire);
      const now = await getState(wire);
      demand(
        now === RUNNING,
        `after a reset in ${stateName(state)} the device is in ${stateName(now)}`,
        'RUNNING',
      );
    },
  }),
);

/** Resets, in every state. */
export const resetRules: readonly ServerRule[] = [
  serverRule({
    ...{ id: 'reset.reply', severity: 'must', clause: RESET, needs: ['spawn'] },
    title: 'DEVICE_RESET works when the device says that it can be reset, and its reply has no payload',
    why: 'QEMU resets each device before its guest starts',
    async check(world) {
      demandResettable(world);
      const { length } = await reset(await world.open());
      demand(length === 0, `the reply has ${length} bytes of payload`, 'none');
    },
  }),
  serverRule({
    ...{
      id: 'reset.configuration',
      severity: 'must',
      clause: uapi('PCI Local Bus 3.0, 6.2.2: COMMAND is 0 after reset'),
      needs: ['spawn'],
    },
    title: 'After a reset COMMAND is 0: the device answers nothing and does no DMA',
    why: 'a device that goes on doing DMA writes into the memory of whatever runs next',
    async check(world) {
      demandResettable(world);
      const wire = await world.open();
      const enable = fields(ENABLED).subarray(0, 2);
      await given('a write', () => write(wire, RegionIndex.CONFIG, COMMAND_REGISTER, enable));
      await given('DEVICE_RESET', () => reset(wire));
      const padded = new Uint8Array(4);
      padded.set(await read(wire, RegionIndex.CONFIG, COMMAND_REGISTER, 2));
      const command = u32At(padded, 0);
      demand(
        (command & ENABLED) === 0,
        `COMMAND reads 0x${command.toString(16)}`,
        'memory space and bus master off',
      );
    },
  }),
  serverRule({
    ...{ id: 'reset.keeps-maps', severity: 'interoperability', needs: ['spawn'] },
    clause: practice('QEMU 11.1 maps memory before it resets the device, and not again'),
    title: 'DMA maps survive a reset',
    why: 'a guest’s memory would be gone for the device, without anybody having been told',
    async check(world) {
      demandResettable(world);
      const wire = await world.open();
      const there = { address: 0x10_0000n };
      await given('DMA_MAP', async () => worked(await map(wire, there)));
      await given('DEVICE_RESET', () => reset(wire));
      worked(await unmap(wire, there.address), 'DMA_UNMAP of what was mapped before the reset');
    },
  }),
  serverRule({
    ...{ id: 'reset.ends-session', severity: 'must', needs: ['spawn', 'migration'] },
    clause: uapi('vfio drivers: the data fd is disabled by a reset, read(2) fails'),
    title: 'A reset ends the data session',
    why: 'a client would take the rest of an old state for part of the new device’s',
    async check(world) {
      demandResettable(world);
      const wire = await runningMigrator(world);
      await bring(wire, STOP_COPY);
      await given('DEVICE_RESET', () => reset(wire));
      refused(await tryReadData(wire, 16), 'MIG_DATA_READ after a reset in STOP_COPY');
    },
  }),
  ...inEach,
];
