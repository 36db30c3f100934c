import { Command } from '../../protocol/index.ts';
import {
  MigrationFlag,
  type MigrationMachine,
  MigrationState,
  migrationMachine,
  stateName,
} from '../../states/index.ts';
import { broken, demand, given, inconclusive, notApplicable } from '../verdict.ts';
import { fields, u32At } from '../wire/bytes.ts';
import type { Wire } from '../wire/wire.ts';
import { failed, getState, goTo, tryReadData, trySetState, tryWriteData, worked } from './ask.ts';
import type { ServerWorld } from './world.ts';

const { STOP, RUNNING, STOP_COPY, RESUMING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P } = MigrationState;

/** Every state but ERROR, with what a device needs to have it. */
export const REACHABLE: readonly (readonly [state: MigrationState, needs: readonly ('precopy' | 'p2p')[]])[] =
  [
    [STOP, []],
    [RUNNING, []],
    [STOP_COPY, []],
    [RESUMING, []],
    [RUNNING_P2P, ['p2p']],
    [PRE_COPY, ['precopy']],
    [PRE_COPY_P2P, ['precopy', 'p2p']],
  ];

/** The name of a state as it stands in the id of a rule: `stop-copy`. */
export const idOf = (state: number): string => stateName(state).toLowerCase().replaceAll('_', '-');

/** The flags that the device claims, if a machine can be made of them. */
export function claimedMachine({ facts }: ServerWorld): MigrationMachine {
  const flags = facts.migrationFlags ?? 0;
  if ((flags & MigrationFlag.STOP_COPY) === 0 || flags > 7)
    inconclusive(`the flags 0x${flags.toString(16)} make no sense`);
  return migrationMachine(flags);
}

/** Brings the device into a state; that it can't is another rule's affair. */
export async function bring(wire: Wire, state: MigrationState): Promise<void> {
  await given(`a change to ${stateName(state)}`, async () => {
    if ((await getState(wire)) === state) return;
    await goTo(wire, state);
    const now = await getState(wire);
    if (now !== state) broken(`the device is in ${stateName(now)}`, stateName(state));
  });
}

/** A connection for changes of the state, on a device that runs. */
export async function runningMigrator(world: ServerWorld): Promise<Wire> {
  const wire = await world.migrator(await world.open());
  if ((await getState(wire)) !== RUNNING) await bring(wire, RUNNING);
  return wire;
}

/** Brings the device back to RUNNING by whatever way there is. */
export async function comeBack(wire: Wire): Promise<void> {
  if (!failed(await trySetState(wire, RUNNING))) return;
  await wire.request(Command.DEVICE_RESET, fields());
}

/** The most that a device's state may have, bytes: a server that never comes to the end is stopped there. */
export const LARGEST_STATE = 1024 * 1024 * 1024;

/**
 * How migration data is read or written: how many bytes each time, over and over. Odd sizes have shown what they can
 * after a while, and a large device would take for ever with them; the rest goes in ordinary pieces.
 */
export type Sizes = readonly number[];

/** How many pieces of odd sizes there are. */
const ODD_PIECES = 300;

/** The bytes of one reply to MIG_DATA_READ: as many as its size field says. Demands that they are there. */
export function dataOf(payload: Uint8Array, asked: number): Uint8Array {
  const size = u32At(payload, 4);
  demand(payload.length >= 8, `the reply to MIG_DATA_READ has ${payload.length} bytes`, 'at least 8');
  demand(size <= asked, `${asked} bytes were asked for, and ${size} came`, `at most ${asked}`);
  demand(
    payload.length >= 8 + size,
    `the reply says ${size} bytes, and has ${payload.length - 8}`,
    `${size}`,
  );
  return payload.subarray(8, 8 + size);
}

/** Reads all there is, until a reply has none. */
export async function readAll(wire: Wire, sizes: Sizes): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for (let turn = 0; ; turn += 1) {
    const asked = sizeOf(sizes, turn);
    const piece = dataOf(worked(await tryReadData(wire, asked)), asked);
    if (piece.length === 0) return Buffer.concat(pieces);
    pieces.push(Uint8Array.from(piece));
    length += piece.length;
    demand(length <= LARGEST_STATE, `after ${length} bytes the data still go on`, 'an end');
  }
}

/** Writes all of it, in pieces of these sizes, over and over. */
export async function writeAll(wire: Wire, data: Uint8Array, sizes: Sizes): Promise<void> {
  let at = 0;
  for (let turn = 0; at < data.length; turn += 1) {
    const size = sizeOf(sizes, turn);
    worked(await tryWriteData(wire, data.subarray(at, at + size)), `MIG_DATA_WRITE at ${at}`);
    at += size;
  }
}

/** Pieces that every server takes, bytes: one skb of a UNIX socket holds them. */
export const ORDINARY: Sizes = [32 * 1024 - 64];

function sizeOf(sizes: Sizes, turn: number): number {
  const [ordinary = 4096] = ORDINARY;
  return turn >= ODD_PIECES ? Math.max(ordinary, ...sizes) : (sizes[turn % sizes.length] ?? ordinary);
}

/** The state of a device that is stopped for it; the device is in STOP_COPY afterwards. */
export async function saved(wire: Wire, sizes: Sizes = ORDINARY): Promise<Uint8Array> {
  return given('saving the state', async () => {
    await goTo(wire, STOP_COPY);
    return readAll(wire, sizes);
  });
}

/** The state of a device that runs again afterwards. */
export async function savedCopy(world: ServerWorld): Promise<Uint8Array> {
  const wire = await runningMigrator(world);
  const data = await saved(wire);
  await given('going back', () => goTo(wire, RUNNING));
  world.closeWires();
  return data.length === 0 ? notApplicable('the state of the device has no bytes') : data;
}
