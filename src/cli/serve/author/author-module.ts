import { spawnSync } from 'node:child_process';
import { pathToFileURL } from 'node:url';
import { ModuleError, type ModuleErrorCode } from './module-error.ts';
import { offerOwnPackage, packageOf } from './own-package.ts';
import { firstLine, type SourcePlace, thrownAt } from './source-place.ts';

/** What a module exports. */
export interface Exports {
  readonly default?: unknown;
}

/**
 * Imports an author's module, in JavaScript or TypeScript.
 * @throws ModuleError ERR_MODULE_SYNTAX, ERR_MODULE_IMPORT, ERR_MODULE_FAILED
 */
export async function importAuthorModule(file: string): Promise<Exports> {
  try {
    return await (/\.[mc]?ts$/.test(file) && !stripsTypes() ? importTypeScript(file) : importNatively(file));
  } catch (error) {
    throw explained(error, file);
  }
}

/** Node.js 22.18, 23.6 and later run TypeScript by themselves. */
function stripsTypes(): boolean {
  return 'typescript' in process.features && Boolean(process.features.typescript);
}

async function importNatively(file: string): Promise<Exports> {
  offerOwnPackage(file);
  return import(pathToFileURL(file).href);
}

/** Nothing is cached on disk: a device is loaded once, and leaves nothing behind. */
async function importTypeScript(file: string): Promise<Exports> {
  const { createJiti } = await import('jiti');
  const jiti = createJiti(file, {
    fsCache: false,
    interopDefault: false,
    virtualModules: await packageOf(file),
  });
  return jiti.import<Exports>(file);
}

function explained(error: unknown, file: string): ModuleError {
  const message = error instanceof Error ? error.message : String(error);
  return (
    wrongSyntax(error, message, file) ??
    missingImport(error, message, file) ??
    new ModuleError(
      'ERR_MODULE_FAILED',
      thrownAt(error, file),
      `it threw while it was loaded: ${message}`,
      error,
    )
  );
}

function wrongSyntax(error: unknown, message: string, file: string): ModuleError | null {
  // As jiti says it.
  const [, reason, path, line] = /^ParseError: (.*?)\s+(\/.*):(\d+):\d+\s*$/s.exec(message) ?? [];
  if (reason !== undefined && path !== undefined)
    return new ModuleError('ERR_MODULE_SYNTAX', { file: path, line: Number(line) }, reason, error);
  if (!(error instanceof SyntaxError)) return null;
  const place = thrownAt(error, file);
  const [code, why] = syntaxReason(message);
  return new ModuleError(code, place.line === null ? checked(file) : place, why, error);
}

/** What a SyntaxError means: Node makes the same kind for three different mistakes. */
function syntaxReason(message: string): readonly [ModuleErrorCode, string] {
  if (/does not provide an export named/.test(message)) return ['ERR_MODULE_IMPORT', message];
  if (/^(Cannot use import statement outside a module|Unexpected token 'export')$/.test(message))
    return [
      'ERR_MODULE_COMMONJS',
      'Node takes it for CommonJS, as its package.json says (npm init writes that)',
    ];
  return ['ERR_MODULE_SYNTAX', message];
}

/** Node says where a module's syntax is wrong only when it runs or checks it as its main program. */
function checked(file: string): SourcePlace {
  const { stderr } = spawnSync(process.execPath, ['--check', file], { encoding: 'utf8', timeout: 10_000 });
  const line = /^(?:file:\/\/)?\/.*:(\d+)$/m.exec(stderr)?.[1];
  return { file, line: line === undefined ? null : Number(line) };
}

function missingImport(error: unknown, message: string, file: string): ModuleError | null {
  const [, wanted, importer] =
    /^Cannot find (?:package|module) '([^']+)'(?: imported from (\S+))?/.exec(message) ?? [];
  if (wanted === undefined) return null;
  // Of a path, Node tells what it became; only its end is surely in the text.
  const name = wanted.split('/').at(-1) ?? wanted;
  const place = firstLine(
    importer ?? requirer(error) ?? file,
    (line) => /['"]/.test(line) && line.includes(name),
  );
  return new ModuleError('ERR_MODULE_IMPORT', place, `it imports ${wanted}, which is not there`, error);
}

/** Who asked for a module, as `require` notes it. */
function requirer(error: unknown): string | null {
  if (!(error instanceof Error) || !('requireStack' in error) || !Array.isArray(error.requireStack))
    return null;
  const first: unknown = error.requireStack[0];
  return typeof first === 'string' ? first : null;
}
