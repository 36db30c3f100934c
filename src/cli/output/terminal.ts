import type { Failure } from '../outcome/failure.ts';
import { errorColors as colors } from './colors.ts';

/** Writes one line to standard output. */
export function print(line = ''): void {
  process.stdout.write(`${line}\n`);
}

/** Writes one line to standard error. */
export function printError(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Writes a value as JSON in one line. A bigint becomes a number where that is exact, a string otherwise. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) => (typeof each === 'bigint' ? plain(each) : each));
}

/** A text from elsewhere without what would control the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '\u{fffd}');
}

/** Shows a failure to people. */
export function printFailure({ message, next }: Failure): void {
  printError(`${colors.red('ferry:')} ${printable(message)}`);
  for (const step of next) printError(`  ${colors.dim('next:')} ${printable(step)}`);
}

/** Rows as a table with its columns aligned; the first column to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  return rows.map((row) =>
    row
      .map((cell, column) =>
        column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}

function plain(value: bigint): number | string {
  return value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value.toString();
}
