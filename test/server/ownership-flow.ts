import { World } from './ownership-world.ts';

/** What a cell says, and the proof. */
export type Proof = readonly [cell: string, prove: (world: World) => Promise<void>];

/** A row whose cells are different stories, by column. */
export type Flow = Readonly<Record<string, Proof>>;

/** A second device, which the world takes down with it. */
export async function another(world: World): Promise<World> {
  const other = await World.open();
  world.cleanup(() => other.close());
  return other;
}
