/** How long a part of a VM's migration took. */
export interface Lap {
  readonly name: string;
  /** Milliseconds. */
  readonly ms: number;
}

/** Takes the times of what is done while a VM stands still. */
export class Stopwatch {
  readonly laps: Lap[] = [];

  /** Does some work, and notes how long it took. What fails is noted too. */
  async time<T>(name: string, work: Promise<T>): Promise<T> {
    const started = performance.now();
    try {
      return await work;
    } finally {
      this.note(name, started);
    }
  }

  /** Something that began at `started` (performance.now()) is over. */
  note(name: string, started: number): void {
    this.laps.push({ name, ms: performance.now() - started });
  }
}
