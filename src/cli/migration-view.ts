import { Presets, SingleBar } from 'cli-progress';
import type { MigrationProgress } from '../engine/index.ts';
import { formatBytes } from './quantities.ts';
import { printError, toJson } from './terminal.ts';

/** Shows how a migration goes on. */
export interface MigrationView {
  show(progress: MigrationProgress): void;
  /** Clears what it has drawn. Idempotent. */
  close(): void;
}

/** JSON lines on standard error, or a bar there when it is a terminal, or nothing. */
export function migrationView(json: boolean): MigrationView {
  if (json) return { show: (progress) => printError(toJson({ progress })), close() {} };
  return process.stderr.isTTY ? new BarView() : { show() {}, close() {} };
}

const FORMAT = '{phase} [{bar}] {percentage}%  {moved}  {rate}/s';

class BarView implements MigrationView {
  readonly #bar = new SingleBar(
    { format: FORMAT, stream: process.stderr, clearOnComplete: true, hideCursor: true, barsize: 30 },
    Presets.legacy,
  );
  #open = false;

  show(progress: MigrationProgress): void {
    const { bytes, remaining } = progress;
    const total = Math.max(1, bytes + (remaining ?? 0));
    if (!this.#open) this.#bar.start(total, 0, labels(progress));
    this.#open = true;
    this.#bar.setTotal(total);
    this.#bar.update(bytes, labels(progress));
  }

  close(): void {
    if (this.#open) this.#bar.stop();
    this.#open = false;
  }
}

function labels({ phase, iteration, bytes, rate }: MigrationProgress) {
  const name = iteration > 0 ? `${phase} ${iteration}` : phase;
  return { phase: name.padEnd(11), moved: formatBytes(bytes), rate: formatBytes(rate) };
}
