import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');

/** The text of a file of the project. */
export function textOf(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** A command of the guide and what it prints there. */
export interface Shown {
  readonly command: string;
  readonly output: string;
}

/** What the guide shows of a guest's shell, in order. */
export function shownInGuest(): readonly Shown[] {
  const blocks = textOf('docs/write-a-device.md').matchAll(/<!-- guest -->\n```console\n(.*?)\n```/gs);
  return [...blocks].flatMap(([, block = '']) =>
    block
      .split(/^# /m)
      .slice(1)
      .map((step) => {
        const [command = '', ...output] = step.trimEnd().split('\n');
        return { command, output: output.join('\n') };
      }),
  );
}

/** What the guide shows behind a comment that names a command of the host. */
export function shownOnHost(command: string): string {
  const guide = textOf('docs/write-a-device.md');
  const start = guide.indexOf(`<!-- host: ${command} -->\n`);
  if (start < 0) throw new Error(`the guide does not show ${command}`);
  const [block = ''] = guide.slice(start).split('\n').slice(1).join('\n').split('\n\n');
  return block
    .split('\n')
    .slice(1)
    .map((line) => line.replace(/^ {4}/, ''))
    .join('\n');
}
