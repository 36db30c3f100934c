import type { DirtyRun, ImageBlock } from './device-image.ts';

/** A dirty run, the number of its block, and whether it belongs to the first pass over it. */
export interface BlockRun extends DirtyRun {
  readonly block: number;
  readonly initial: boolean;
}

/** A block, where its current sweep has got to, and where its first pass has got to. */
interface Lane {
  readonly block: ImageBlock;
  at: number;
  reached: number;
}

/**
 * Takes dirty runs from all blocks in turn, each block from its start to its end before the next has its turn, so that
 * a busy block does not starve the others; and knows how much of the first pass is left.
 */
export class BlockSweep {
  readonly #lanes: readonly Lane[];
  #current = 0;

  constructor(blocks: readonly ImageBlock[]) {
    this.#lanes = blocks.map((block) => ({ block, at: 0, reached: 0 }));
  }

  /** The next run of at most `limit` bytes, or null when no block has any. */
  take(limit: number): BlockRun | null {
    for (let turn = 0; turn < this.#lanes.length; turn += 1) {
      const index = this.#current;
      const lane = this.#lanes[index];
      const run = lane?.block.takeDirty(limit) ?? null;
      if (lane === undefined || run === null) this.#endTurn(lane);
      else return { ...run, block: index, initial: this.#note(lane, run) };
    }
    return null;
  }

  /** Bytes that have not been taken even once. */
  get firstPass(): number {
    return this.#lanes.reduce((sum, { block, reached }) => sum + block.size - reached, 0);
  }

  /** Bytes that are known to be dirty, the first pass included. */
  get dirtyBytes(): number {
    return this.#lanes.reduce((sum, { block }) => sum + block.dirtyBytes, 0);
  }

  /** Finds writes that nobody reported. */
  refresh(): void {
    for (const { block } of this.#lanes) block.refresh();
  }

  /** Notes a run that was taken; whether it belongs to the first pass. */
  #note(lane: Lane, run: DirtyRun): boolean {
    const end = run.offset + run.length;
    const wrapped = run.offset < lane.at;
    const initial = !wrapped && end > lane.reached;
    lane.at = end;
    if (initial) lane.reached = end;
    if (wrapped || end === lane.block.size) this.#endTurn(lane);
    return initial;
  }

  #endTurn(lane: Lane | undefined): void {
    this.#current = (this.#current + 1) % this.#lanes.length;
    if (lane === undefined) return;
    lane.at = 0;
    lane.reached = lane.block.size;
  }
}
