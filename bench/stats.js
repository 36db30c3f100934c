/** Figures of several rounds and what to say of them. */

/** @param {readonly number[]} values */
export function summarize(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted.at(-1) };
}

/** Ratios of figures that were measured in the same round, side by side: noise that hits both cancels out. */
export function ratios(values, references) {
  return summarize(values.map((value, round) => value / references[round]));
}

/** @param {number} value */
export function short(value) {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
