import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A line of a file, counted from 1; null where only the file is known. */
export interface SourcePlace {
  readonly file: string;
  readonly line: number | null;
}

/** This command's own code, which is never at fault for what an author's module does. */
const OWN = resolve(import.meta.dirname, '../../..');

/** A place as V8 writes it into a stack: a URL or a path, at the end of a line, or before the code that is wrong. */
const PLACE = /(?:^|[\s(])(file:\/\/\S+?|\/.+?):(\d+)(?::\d+)?\)?$/;

/** Where in an author's code an error was thrown: the topmost place of its stack that is neither ours nor a tool's. */
export function thrownAt(error: unknown, file: string): SourcePlace {
  const stack = error instanceof Error ? (error.stack ?? '') : '';
  for (const text of stack.split('\n')) {
    const [, where = '', line = ''] = PLACE.exec(text) ?? [];
    if (where === '') continue;
    const path = where.startsWith('file:') ? pathOf(where) : where;
    if (!path.startsWith(`${OWN}/`) && !path.includes('/node_modules/jiti/'))
      return { file: path, line: Number(line) };
  }
  return { file, line: null };
}

/** The first line of `file` that is `wanted`. */
export function firstLine(file: string, wanted: (line: string) => boolean): SourcePlace {
  const index = sourceOf(file).split('\n').findIndex(wanted);
  return { file, line: index < 0 ? null : index + 1 };
}

function sourceOf(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** The query that some loaders append is no part of the path. */
function pathOf(url: string): string {
  try {
    return fileURLToPath(url);
  } catch {
    return url;
  }
}
