import { given } from '../verdict.ts';
import type { Wire } from '../wire/wire.ts';
import { read, write } from './ask.ts';
import { ORDINARY } from './driving.ts';
import type { Mark } from './known-devices.ts';
import type { ServerWorld } from './world.ts';

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
