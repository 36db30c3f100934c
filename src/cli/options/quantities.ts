import { InvalidArgumentError } from 'commander';

export { counted, formatBytes, formatMs, grouped } from '../../report/index.ts';

const UNITS = new Map([
  ['', 1],
  ['K', 1024],
  ['M', 1024 ** 2],
  ['G', 1024 ** 3],
  ['T', 1024 ** 4],
]);

/** Bytes from what people type: `4096`, `64M`, `1.5G`, `64MiB`; units are powers of 1024. */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(text.trim());
  const unit = UNITS.get(match?.[2]?.toUpperCase() ?? 'none');
  const bytes = Number(match?.[1]) * (unit ?? Number.NaN);
  if (!Number.isSafeInteger(bytes) || bytes <= 0) {
    throw new InvalidArgumentError('Write a size such as 4096, 64K, 64M or 1G.');
  }
  return bytes;
}

/** Makes a parser for whole numbers from `least` to `most`. */
export function wholeNumber(least: number, most: number = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= least && value <= most) return value;
    const range = most === Number.MAX_SAFE_INTEGER ? `from ${least}` : `from ${least} to ${most}`;
    throw new InvalidArgumentError(`Write a whole number ${range}.`);
  };
}

/** Bytes as lspci writes sizes: `4K`, `64M`, `256`. */
export function shortBytes(bytes: number): string {
  for (const [unit, factor] of [...UNITS].reverse()) {
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return String(bytes);
}
