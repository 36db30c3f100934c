import { readFileSync } from 'node:fs';

const text = readFileSync(new URL('../../docs/ownership.md', import.meta.url), 'utf8');

/** A table of docs/ownership.md: its columns, and each row's first cell with its other cells by column. */
export interface DocumentTable {
  readonly columns: readonly string[];
  readonly rows: readonly { readonly name: string; readonly cells: ReadonlyMap<string, string> }[];
}

/** The table whose header row begins with `first` and has `second` next. */
export function documentTable(first: string, second: string): DocumentTable {
  const lines = text.split('\n');
  const at = lines.findIndex((line) => line.startsWith(`| ${first} | ${second} |`));
  if (at < 0) throw new Error(`docs/ownership.md has no table ${first} | ${second}`);
  const [, ...columns] = cellsOf(lines[at] ?? '');
  const end = lines.findIndex((line, i) => i > at && !line.startsWith('|'));
  const rows = lines.slice(at + 2, end).map((line) => {
    const [name = '', ...cells] = cellsOf(line);
    if (cells.length !== columns.length)
      throw new Error(`${name} has ${cells.length} cells, not ${columns.length}`);
    return { name, cells: new Map(columns.map((column, i) => [column, cells[i] ?? ''])) };
  });
  return { columns, rows };
}

function cellsOf(line: string): string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}
