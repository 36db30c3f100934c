import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

interface Entry {
  readonly what: string;
  readonly ours: string[];
  readonly proof: string[];
}
interface Feature extends Entry {
  readonly area: string;
  readonly theirs: string[];
  readonly verdict: string;
  readonly how: string;
}

const list: { readonly features: Feature[]; readonly beyond: Entry[] } = JSON.parse(
  read('docs/features.json'),
);
const header: Readonly<Record<'functions' | 'callbacks' | 'constants', string[]>> & {
  readonly header: string;
} = JSON.parse(read('test/fixtures/libvfio-user-api.json'));
const exported: Readonly<Record<string, unknown>> = JSON.parse(read('package.json')).exports;
const entries: readonly Entry[] = [...list.features, ...list.beyond];

/** JavaScript, so without types of its own. */
const { renderFeatures }: { renderFeatures(features: typeof list, origin: string): string } = await import(
  new URL('../../scripts/feature-docs.js', import.meta.url).href
);

/** The text of the file from which a room exports a name to users of the package; null when it exports none. */
function sourceOf(room: string, name: string): string | null {
  if (!(`./${room}` in exported)) return null;
  const index = read(`src/${room}/index.ts`);
  for (const [, names = '', path = ''] of index.matchAll(/export (?:type )?(\{[^}]*\}|\*) from '([^']+)'/g)) {
    const file = join('src', room, path);
    if (names === '*' && !/\/index\.ts$/.test(path) && !declares(read(file), name)) continue;
    if (names === '*' && /\/index\.ts$/.test(path)) continue;
    if (names === '*' || new RegExp(`\\b${name}\\b`).test(names)) return read(followed(file, name));
  }
  return null;
}

/** The file itself, or the one that it passes a name on from. */
function followed(file: string, name: string): string {
  const text = read(file);
  if (declares(text, name)) return file;
  const from = new RegExp(`export (?:type )?\\{[^}]*\\b${name}\\b[^}]*\\} from '([^']+)'`).exec(text)?.[1];
  return from === undefined ? file : followed(join(dirname(file), from), name);
}

function declares(text: string, name: string): boolean {
  return new RegExp(`^export .*\\b(?:class|interface|function|const|type) ${name}\\b`, 'm').test(text);
}

/** What a class or interface has between its first line and the brace that ends it. */
function bodyOf(text: string, name: string): string {
  const start = text.search(new RegExp(`^export .*\\b(?:class|interface) ${name}\\b`, 'm'));
  return text.slice(start, text.indexOf('\n}', start));
}

function hasMember(body: string, member: string): boolean {
  return new RegExp(
    `^ {2}(?:(?:protected|readonly|abstract|async|static|get|override) )*${member}\\??[<(:]`,
    'm',
  ).test(body);
}

describe('the list of features', () => {
  const named = list.features.flatMap(({ theirs }) => theirs);
  const known = [...header.functions, ...header.callbacks, ...header.constants];

  it.each(known)("has libvfio-user's %s", (name) => {
    expect(named).toContain(name);
  });

  it('names nothing that its header has not', () => {
    expect(named.filter((name) => !known.includes(name))).toEqual([]);
  });

  it.each(entries.flatMap(({ ours }) => ours))('names %s, which the package exports', (reference) => {
    const [room = '', path = ''] = reference.split(':');
    const [name = '', member] = path.split('.');
    const source = sourceOf(room, name);
    expect(source, `${name} is no export of ${room}`).not.toBeNull();
    if (member === undefined) return;
    expect(hasMember(bodyOf(source ?? '', name), member), `${name} has no ${member}`).toBe(true);
  });

  it.each(entries.flatMap(({ proof }) => proof))('names %s, a test that is there', (reference) => {
    const [file = '', title] = reference.split(': ', 2);
    expect(existsSync(join(root, file)), `${file} is not there`).toBe(true);
    if (title !== undefined) expect(read(file)).toContain(reference.slice(file.length + 2));
  });

  it('says yes only to what it proves', () => {
    const verdicts = ['yes', 'otherwise', 'left out', 'missing'];
    expect(list.features.filter(({ verdict }) => !verdicts.includes(verdict))).toEqual([]);
    const claims = list.features.filter(({ verdict }) => verdict === 'yes' || verdict === 'otherwise');
    expect(
      [...claims, ...list.beyond].filter(({ ours, proof }) => ours.length === 0 || proof.length === 0),
    ).toEqual([]);
  });

  it('is what docs/features.md shows', () => {
    expect(read('docs/features.md'), 'run: npm run docs').toBe(renderFeatures(list, header.header));
  });
});
