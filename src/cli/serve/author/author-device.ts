import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { BindableDevice } from '../../../device/index.ts';
import { UsageError } from '../../outcome/usage-error.ts';
import { importAuthorModule } from './author-module.ts';
import type { AuthorOptions } from './author-options.ts';
import { ModuleError } from './module-error.ts';
import { firstLine, thrownAt } from './source-place.ts';

/**
 * The device of an author's module: its default export is a class that extends PciDevice or a function, which gets the
 * options, or the device itself.
 * @throws UsageError when there is no such file, ModuleError for everything that can be wrong with it
 */
export async function authorDevice(path: string, options: AuthorOptions): Promise<BindableDevice> {
  const file = resolve(path);
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true)
    throw new UsageError(`there is no file ${file}; see ferry serve --help for the devices known by name`);
  const { default: exported } = await importAuthorModule(file);
  const device = await make(exported, options, file);
  if (isDevice(device)) return device;
  throw noDevice(
    file,
    exported === undefined ? 'it has no default export' : 'its default export is no device',
  );
}

async function make(exported: unknown, options: AuthorOptions, file: string): Promise<unknown> {
  if (typeof exported !== 'function') return exported;
  const constructs = isDevice(exported.prototype);
  if (!constructs && isClass(exported))
    throw noDevice(file, `its class ${exported.name} does not extend PciDevice`);
  try {
    return await (constructs
      ? Reflect.construct(exported, [options])
      : Reflect.apply(exported, undefined, [options]));
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const what = `the device can't be made: ${message}`;
    throw new ModuleError('ERR_MODULE_FAILED', thrownAt(error, file), what, error);
  }
}

function noDevice(file: string, reason: string): ModuleError {
  return new ModuleError(
    'ERR_MODULE_NO_DEVICE',
    firstLine(file, (line) => /^\s*export\s+default\b/.test(line)),
    reason,
  );
}

function isClass(value: object): boolean {
  return Function.prototype.toString.call(value).startsWith('class');
}

/** Devices of another copy of this package are welcome, so it is the shape that counts. */
function isDevice(value: unknown): value is BindableDevice {
  return typeof value === 'object' && value !== null && 'bind' in value && typeof value.bind === 'function';
}
