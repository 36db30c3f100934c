import type { Copied } from '../step.ts';

/** Arcs of the blackout that do work: STOP_COPY here, STOP there, which verifies. The others only change a state. */
const ARCS = 2;
/** COMPLETE to READY, COMMIT to RUNNING. */
const ROUND_TRIPS = 2;
/** READY, COMMIT and RUN. */
const RECORDS = 3;

/**
 * What a sender learns on its way about how long things take. The best time counts: what was slower was waiting for
 * something else. The destination's devices and disk are taken to be as fast as its own.
 */
export class Measurements {
  #arcMs = 0;
  #roundTripMs = 0;
  #recordMs = 0;
  #bytesPerMs: number | null = null;

  /** A change of state took so long. */
  arc(ms: number): void {
    this.#arcMs = best(this.#arcMs, ms);
  }

  /** The other side has answered after so long, with nothing to load. */
  roundTrip(ms: number): void {
    this.#roundTripMs = best(this.#roundTripMs, ms);
  }

  /** A record became durable after so long. */
  record(ms: number): void {
    this.#recordMs = best(this.#recordMs, ms);
  }

  /** The last round counts: the load of both hosts changes. A round that moved nothing tells nothing. */
  copied({ bytes, ms }: Copied): void {
    if (bytes > 0) this.#bytesPerMs = ms > 0 ? bytes / ms : Number.POSITIVE_INFINITY;
  }

  /** What data moves at, loading included; null before anything was moved. */
  get bytesPerMs(): number | null {
    return this.#bytesPerMs;
  }

  /** What a blackout takes besides data, in milliseconds. */
  get overheadMs(): number {
    return ARCS * this.#arcMs + ROUND_TRIPS * this.#roundTripMs + RECORDS * this.#recordMs;
  }
}

/** The smaller one; 0 is not measured yet. */
function best(known: number, ms: number): number {
  return known === 0 ? ms : Math.min(known, ms);
}
