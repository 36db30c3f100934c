import { MigrationState, migrationMachine, sessionKind } from '../../src/states/index.ts';
import type { ArcOutcome } from './scripted-migration.ts';

const { ERROR, RUNNING, STOP_COPY } = MigrationState;

interface Flight {
  readonly by: number;
  readonly path: readonly MigrationState[];
  readonly outcomes: ArcOutcome[];
  void: boolean;
}

/** What the session should be, written as plainly as possible: no promises, no classes of errors. */
export class Model {
  readonly flags: number;
  state: MigrationState = RUNNING;
  owner: number | null = null;
  readonly aborted = new Set<number>();
  /** Transitions whose arc waits, void ones included, oldest first. */
  flights: Flight[] = [];
  resetting = false;
  abandoned = false;
  /** How transitions that took time ended. */
  readonly endings: string[] = [];

  constructor(flags: number) {
    this.flags = flags;
  }

  get flight(): Flight | null {
    return this.flights.find((flight) => !flight.void) ?? null;
  }

  set(by: number, target: number, outcomes: ArcOutcome[]): string {
    if (target > 7) return 'EINVAL';
    if (target !== RUNNING && this.aborted.has(by)) return 'ENODEV';
    const busy = this.#turn(by);
    if (busy !== null) return busy;
    const path = this.path(target);
    if (path === null) return 'EINVAL';
    this.owner = by;
    this.abandoned = false;
    return this.#go({ by, path, outcomes: [...outcomes], void: false });
  }

  settle(outcome: 'ok' | 'fail'): void {
    const flight = this.flights.shift();
    if (flight === undefined) return;
    let ending: string;
    if (flight.void) ending = 'ENODEV';
    else if (outcome === 'fail') ending = this.#end(flight, 'EPROTO');
    else ending = this.#arrive(flight);
    if (ending !== 'waits') this.endings.push(ending);
  }

  transfer(by: number, kind: 'saving' | 'resuming', preCopyOnly = false): string {
    if (this.aborted.has(by)) return 'ENODEV';
    const busy = this.#turn(by);
    if (busy !== null) return busy;
    if (sessionKind(this.state) !== kind) return 'EINVAL';
    this.owner = by;
    return preCopyOnly && this.state === STOP_COPY ? 'EINVAL' : 'ok';
  }

  resetBegins(by: number): void {
    if (this.owner !== null && this.owner !== by) this.aborted.add(this.owner);
    this.aborted.delete(by);
    this.owner = null;
    for (const flight of this.flights) flight.void = true;
    this.resetting = true;
  }

  resetEnds(outcome: 'ok' | 'fail'): void {
    this.resetting = false;
    this.state = outcome === 'ok' ? RUNNING : ERROR;
  }

  report(by: number): MigrationState {
    if (!this.resetting) this.aborted.delete(by);
    return this.state;
  }

  leave(by: number): void {
    if (this.owner === by) this.owner = null;
    this.aborted.delete(by);
  }

  path(target: number): readonly MigrationState[] | null {
    try {
      return migrationMachine(this.flags).path(this.state, target);
    } catch {
      return null;
    }
  }

  #turn(by: number): string | null {
    const theirs = this.owner !== null && this.owner !== by;
    return theirs || this.flight !== null || this.resetting ? 'EBUSY' : null;
  }

  #go(flight: Flight): string {
    for (let next = this.#nextOf(flight); next !== undefined; next = this.#nextOf(flight)) {
      if (this.abandoned) return this.#end(flight, 'ETIMEDOUT');
      const outcome = flight.outcomes.shift() ?? 'ok';
      if (outcome === 'fail') return this.#end(flight, 'EPROTO');
      if (outcome === 'wait') {
        this.flights.push(flight);
        return 'waits';
      }
      this.state = next;
    }
    return this.#end(flight, 'ok');
  }

  #arrive(flight: Flight): string {
    this.state = this.#nextOf(flight) ?? this.state;
    return this.#go(flight);
  }

  #nextOf({ path }: Flight): MigrationState | undefined {
    return path[path.indexOf(this.state) + 1];
  }

  #end(flight: Flight, ending: string): string {
    if (this.state === RUNNING) this.owner = null;
    if (ending === 'ok') this.aborted.delete(flight.by);
    return ending;
  }
}
