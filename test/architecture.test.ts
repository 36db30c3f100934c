import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const src = resolve(import.meta.dirname, '../src');
const architecture = readFileSync(resolve(src, '../ARCHITECTURE.md'), 'utf8');

/** The table of ARCHITECTURE.md: room to the rooms that it may import. */
const rooms = new Map(
  [...architecture.matchAll(/^\| `([a-z]+)` \| .* \| (.*)\|$/gm)].map(([, room = '', list = '']) => [
    room,
    [...list.matchAll(/`([a-z]+)`/g)].map(([, name = '']) => name),
  ]),
);

const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'));

/** Relative imports of a file, as paths from src/. */
function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8');
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(([, path = '']) => path);
  return specifiers.map((path) => relative(src, resolve(src, dirname(file), path)));
}

function roomOf(path: string): string {
  return path.split('/')[0] ?? '';
}

describe('the rooms of ARCHITECTURE.md', () => {
  it('are the folders of src', () => {
    const folders = readdirSync(src, { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(folders.map(({ name }) => name).sort()).toEqual([...rooms.keys()].sort());
  });

  it('import only rooms that stand above them', () => {
    const order = [...rooms.keys()];
    for (const [room, allowed] of rooms) {
      for (const other of allowed)
        expect(order.indexOf(other), `${room} imports ${other}`).toBeLessThan(order.indexOf(room));
    }
  });

  it.each(files.filter((file) => file.includes('/')))(
    '%s keeps to its room and to the doors of others',
    (file) => {
      const room = roomOf(file);
      for (const target of importsOf(file)) {
        if (roomOf(target) === room) continue;
        expect(rooms.get(room), `${file} imports ${target}`).toContain(roomOf(target));
        expect(target, `${file} enters ${roomOf(target)} by the window`).toBe(`${roomOf(target)}/index.ts`);
      }
    },
  );

  it('leave sockets, files and processes to native, transport, server, client and cli', () => {
    const pure = ['errors', 'states', 'protocol', 'stream', 'device', 'devices', 'engine'];
    for (const file of files.filter((path) => pure.includes(roomOf(path)))) {
      const text = readFileSync(join(src, file), 'utf8');
      expect(text, file).not.toMatch(/'node:(?:fs|net|child_process|worker_threads|os)(?:\/[a-z]+)?'/);
    }
  });
});
