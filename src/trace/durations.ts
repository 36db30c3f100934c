/** Nanoseconds for people: `950 ns`, `42.1 us`, `12.3 ms`, `4.56 s`. */
export function formatDuration(nanoseconds: bigint): string {
  const value = Number(nanoseconds);
  if (value < 1_000) return `${value} ns`;
  if (value < 1_000_000) return `${(value / 1_000).toFixed(1)} us`;
  if (value < 1_000_000_000) return `${(value / 1_000_000).toFixed(1)} ms`;
  return `${(value / 1_000_000_000).toFixed(2)} s`;
}

const UNITS: Readonly<Record<string, number>> = { ns: 1, us: 1_000, ms: 1_000_000, s: 1_000_000_000 };

/** Nanoseconds from `100us`, `1.5ms`; null for anything else. */
export function parseDuration(text: string): bigint | null {
  const match = /^(\d+(?:\.\d+)?)(ns|us|ms|s)$/.exec(text);
  const unit = UNITS[match?.[2] ?? ''];
  return match === null || unit === undefined ? null : BigInt(Math.round(Number(match[1]) * unit));
}

/** The time of day of a moment in nanoseconds since 1970, to the microsecond, in UTC. */
export function timeOfDay(time: bigint): string {
  const micros = String((time / 1_000n) % 1_000_000n).padStart(6, '0');
  const date = new Date(Number(time / 1_000_000n));
  return `${date.toISOString().slice(11, 19)}.${micros}`;
}
