import { Command } from '../../protocol/index.ts';
import {
  MigrationFlag,
  type MigrationMachine,
  MigrationState,
  migrationMachine,
  stateName,
} from '../../states/index.ts';
import { broken, demand, given, inconclusive } from '../verdict.ts';
import { fields, u32At } from '../wire/bytes.ts';
import type { Wire } from '../wire/wire.ts';
import {
  failed,
  getState,
  goTo,
  read,
  tryReadData,
  trySetState,
  tryWriteData,
  worked,
  write,
} from './ask.ts';
import type { Mark } from './known-devices.ts';
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

/** Marks that were left so far: each is another, so that none is there from before. */
let marksLeft = 0;

/** Leaves a mark in a device whose registers are known, and in memory that can be mapped; what they read then. */
export async function leaveMarks(world: ServerWorld, wire: Wire): Promise<readonly Uint8Array[]> {
  marksLeft = (marksLeft + 1) & 0x0f;
  for (const { region, offset, bytes } of marksOf(world)) {
    const mark = Uint8Array.from(bytes);
    mark[0] = (mark[0] ?? 0) ^ marksLeft;
    await given('a write', () => write(wire, region, offset, mark));
  }
  return readMarks(world, wire);
}

/** What the marked places read now. */
export async function readMarks(world: ServerWorld, wire: Wire): Promise<readonly Uint8Array[]> {
  const seen: Uint8Array[] = [];
  for (const { region, offset, bytes } of marksOf(world))
    seen.push(Uint8Array.from(await read(wire, region, offset, bytes.length)));
  return seen;
}

/** How much of memory that can be mapped is marked, bytes. */
const MARKED = 64;

function marksOf({ known, facts }: ServerWorld): readonly Mark[] {
  const areas = facts.regions.flatMap(({ index, areas: [first] }) =>
    first === undefined
      ? []
      : [{ region: index, offset: first.offset, bytes: pattern(Math.min(MARKED, Number(first.size))) }],
  );
  return known?.mark == null ? areas : [...areas, known.mark];
}

function pattern(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 37 + (at >> 8) * 5 + 11) & 0xff);
}

/** How much is written so that there is something to move, bytes: enough for several long messages. */
const FILLED = 3 * 1024 * 1024;

/** Fills memory that can be mapped, so that the state of the device is as long as it gets. Closes every connection. */
export async function fill(world: ServerWorld): Promise<void> {
  const wire = await world.open();
  const [piece = 4096] = ORDINARY;
  for (const { index, areas } of world.facts.regions) {
    for (const { offset, size } of areas) {
      const end = offset + BigInt(Math.min(FILLED, Number(size)));
      for (let at = offset; at < end; at += BigInt(piece)) {
        const length = Number(end - at < BigInt(piece) ? end - at : BigInt(piece));
        await given('a write', () => write(wire, index, at, pattern(length)));
      }
    }
  }
  world.closeWires();
}
