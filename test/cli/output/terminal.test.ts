import { describe, expect, it } from 'vitest';
import { printable, table, toJson } from '../../../src/cli/output/terminal.ts';

describe('what goes to a terminal', () => {
  it('is aligned in tables: the first column to the left', () => {
    expect(
      table([
        ['phase', 'time'],
        ['run', '1.0 ms'],
        ['pre-copy', ''],
      ]),
    ).toEqual(['phase       time', 'run       1.0 ms', 'pre-copy']);
  });

  it('contains nothing from elsewhere that controls it', () => {
    expect(printable('a\x1b[2Jb\r\n\x07c\x9b')).toBe('a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}c\u{fffd}');
    expect(printable('größer 64 MiB')).toBe('größer 64 MiB');
  });

  it('has big integers in JSON: as numbers where they are exact, as text where not', () => {
    expect(toJson({ a: 64n, b: 2n ** 53n - 1n, c: 2n ** 64n })).toBe(
      '{"a":64,"b":9007199254740991,"c":"18446744073709551616"}',
    );
  });
});
