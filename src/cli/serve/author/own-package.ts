import { readFileSync } from 'node:fs';
import { createRequire, register } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** How authors import this package. */
const NAME = 'vfio-ferry';

/** Whether a module of this package is meant, by its name or by that of a room. */
export function isOwnName(specifier: string): boolean {
  return specifier === NAME || specifier.startsWith(`${NAME}/`);
}

/**
 * Makes imports of this package work in a module that has no copy of it, because `ferry` is installed globally or runs
 * from a clone: they get the copy that runs.
 */
export function offerOwnPackage(file: string): void {
  if (homeOf(file) === file || offered) return;
  offered = true;
  register('./own-package-hook.js', import.meta.url);
}

let offered = false;

/** The modules of this package as `file` sees them, by the names of their imports, with complaints where names lack. */
export async function packageOf(file: string): Promise<Readonly<Record<string, unknown>>> {
  const require = createRequire(homeOf(file));
  const load = async (name: string): Promise<readonly [string, unknown]> => {
    const module: object = await import(pathToFileURL(require.resolve(name)).href);
    return [name, strict(name, module)];
  };
  return Object.fromEntries(
    await Promise.all(importNames(require.resolve(`${NAME}/package.json`)).map(load)),
  );
}

/** From where imports of this package find it: the author's file, else this one, which belongs to it. */
function homeOf(file: string): string {
  try {
    createRequire(file).resolve(`${NAME}/package.json`);
    return file;
  } catch {
    return fileURLToPath(import.meta.url);
  }
}

/** What the `exports` of the package offer to import. */
function importNames(manifest: string): string[] {
  const parsed: { readonly exports: object } = JSON.parse(readFileSync(manifest, 'utf8'));
  return Object.keys(parsed.exports)
    .filter((key) => !key.endsWith('.json'))
    .map((key) => `${NAME}${key.slice(1)}`);
}

/** A name that is not exported is an error in a module; in an object, which this becomes, it would be undefined. */
function strict(name: string, module: object): object {
  return new Proxy(module, {
    get(target, key): unknown {
      if (typeof key === 'symbol' || key in target || FOREIGN.has(key)) return Reflect.get(target, key);
      throw new SyntaxError(`The requested module '${name}' does not provide an export named '${key}'`);
    },
  });
}

/** What loaders and promises ask any object for. */
const FOREIGN = new Set(['default', '__esModule', 'then']);
