import type { ServedDevice } from '../device/index.ts';
import type { DeviceServer } from '../server/index.ts';
import { type MigrationMachine, MigrationState, walk } from '../states/index.ts';

/** The first time compiles, the others find out what the code deals with. */
const TIMES = 10;
/** So much of a state is asked for at a time, in bytes. */
const PIECE = 64 * 1024;

/**
 * Saves the state of a device that nobody is served with yet, and loads it into the same device, some times: the code of
 * this device has run then before a VMM waits for it, as the rest has by {@link rehearse}. Its memory is left out. A device
 * whose migration is its author's own is left alone, as nobody knows what else that does. What goes wrong is told by the
 * hand-over itself, if it goes wrong there as well.
 */
export async function practise({ device, migration: { machine } }: DeviceServer): Promise<void> {
  const { handover, migration } = device;
  if (handover === undefined || machine === null || migration.lend === undefined) return;
  handover.begin(handover.blocks);
  try {
    for (let time = 0; time < TIMES; time += 1) await saveAndLoad(device, machine);
  } catch {
    await device.reset();
  } finally {
    handover.end();
  }
}

async function saveAndLoad({ migration }: ServedDevice, machine: MigrationMachine): Promise<void> {
  const { RUNNING, STOP_COPY, RESUMING } = MigrationState;
  const go = async (from: MigrationState, to: MigrationState): Promise<void> => {
    await walk(machine, from, to, (at, next) => migration.arc(at, next));
  };
  const buffer = new Uint8Array(PIECE);
  const pieces: Uint8Array[] = [];
  await go(RUNNING, STOP_COPY);
  for (let count = migration.read(buffer); count > 0; count = migration.read(buffer)) {
    pieces.push(buffer.slice(0, count));
  }
  await go(STOP_COPY, RESUMING);
  for (const piece of pieces) migration.write(piece);
  await go(RESUMING, RUNNING);
}
