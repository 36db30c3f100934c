/**
 * The name that the specification uses for a field that the code calls `name`: `numRegions` is `num_regions`.
 * One spelling is declared, the other derived.
 */
export function wireName(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
