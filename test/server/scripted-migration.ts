import { expect } from 'vitest';
import type { DeviceMigration } from '../../src/device/index.ts';
import { Errno, FerryError } from '../../src/errors/index.ts';
import { MigrationState, stateName } from '../../src/states/index.ts';

/** What one arc of a {@link ScriptedMigration} does. */
export type ArcOutcome = 'ok' | 'fail' | 'wait';

/** What a failing arc throws: an errno that nothing else uses. */
export const arcFailure = new FerryError('ERR_TEST', 'the device is stuck', { errno: Errno.EPROTO });

interface Waiting {
  readonly to: MigrationState;
  readonly resets: number;
  settle(outcome: 'ok' | 'fail'): void;
}

/** A device's migration that does as it is told, and checks that it is only asked for arcs from where it is. */
export class ScriptedMigration implements DeviceMigration {
  readonly flags: number;
  /** What the next arcs do; `ok` when it is used up. */
  outcomes: ArcOutcome[] = [];
  /** Where the device itself thinks that it is. */
  state: MigrationState = MigrationState.RUNNING;
  /** Arcs that were begun and are not over, those that a reset has made void included, oldest first. */
  readonly waiting: Waiting[] = [];
  readonly arcs: string[] = [];
  written = 0;
  #resets = 0;

  constructor(flags: number) {
    this.flags = flags;
  }

  arc(from: MigrationState, to: MigrationState): void | Promise<void> {
    expect(stateName(from), 'an arc begins where the device is').toBe(stateName(this.state));
    this.arcs.push(`${stateName(from)}>${stateName(to)}`);
    const outcome = this.outcomes.shift() ?? 'ok';
    if (outcome === 'fail') throw arcFailure;
    if (outcome === 'ok') this.state = to;
    else return this.#wait(to);
  }

  /** Lets the oldest arc that waits end. */
  settle(outcome: 'ok' | 'fail'): void {
    this.waiting.shift()?.settle(outcome);
  }

  read(target: Uint8Array): number {
    return target.fill(0x5a).length;
  }

  write(data: Uint8Array): void {
    this.written += data.length;
  }

  precopyInfo() {
    return { initialBytes: 1n, dirtyBytes: 2n };
  }

  dataSize(): bigint {
    return 3n;
  }

  reset(): void {
    this.#resets += 1;
    this.state = MigrationState.RUNNING;
  }

  #wait(to: MigrationState): Promise<void> {
    const resets = this.#resets;
    return new Promise((resolve, reject) => {
      const settle = (outcome: 'ok' | 'fail'): void => {
        if (outcome === 'fail') return reject(arcFailure);
        if (resets === this.#resets) this.state = to;
        resolve();
      };
      this.waiting.push({ to, resets, settle });
    });
  }
}
