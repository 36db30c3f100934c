import { Presets, SingleBar } from 'cli-progress';
import type { MigrationEvent, MigrationProgress } from '../../engine/index.ts';
import { formatBytes, formatMs } from '../options/quantities.ts';
import { printError, toJson } from './terminal.ts';

/** Shows how a migration goes on. */
export interface MigrationView {
  show(progress: MigrationProgress): void;
  /** For machines alone. */
  tell(event: MigrationEvent): void;
  /** Clears what it has drawn. Idempotent. */
  close(): void;
}

/** JSON lines on standard error, or a bar there when it is a terminal, or nothing. */
export function migrationView(json: boolean): MigrationView {
  if (!json) return process.stderr.isTTY ? new BarView() : { show() {}, tell() {}, close() {} };
  return {
    show: (progress) => printError(toJson({ progress })),
    tell: (event) => printError(toJson({ event })),
    close() {},
  };
}

const FORMAT = '{phase} [{bar}] {percentage}%  {moved}  {rate}/s{rest}{blackout}';

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

  tell(): void {}

  close(): void {
    if (this.#open) this.#bar.stop();
    this.#open = false;
  }
}

function labels({ phase, iteration, bytes, rate, remaining, estimatedDowntimeMs }: MigrationProgress) {
  const name = iteration > 0 ? `${phase} ${iteration}` : phase;
  return {
    phase: name.padEnd(11),
    moved: formatBytes(bytes),
    rate: formatBytes(rate),
    rest: remaining === null ? '' : `  ${formatBytes(remaining)} left`,
    blackout: estimatedDowntimeMs === null ? '' : `  downtime ~${formatMs(estimatedDowntimeMs)}`,
  };
}
