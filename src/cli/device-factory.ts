import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { BindableDevice } from '../device/index.ts';
import { Edu, MemoryDevice, NvmeDevice } from '../devices/index.ts';
import { DEVICE_NAMES, type PlainSpec } from './device-spec.ts';
import { UsageError } from './usage-error.ts';

/** Smallest size of the memory device, one page; a namespace of nvme has whole ones. */
const SMALLEST = 4096;

/**
 * Makes a device. The default export, because a dedicated thread loads this module by itself.
 * @throws UsageError for an image or a module that can't be used
 */
export default async function makeDevice(spec: PlainSpec): Promise<BindableDevice> {
  switch (spec.kind) {
    case 'edu':
      return new Edu({ asynchronous: spec.asynchronous });
    case 'memory':
      return makeMemory(spec);
    case 'nvme':
      return makeNvme(spec);
    case 'module':
      return deviceOfModule(spec.path);
  }
}

function makeMemory({ asynchronous, size, image }: Extract<PlainSpec, { kind: 'memory' }>): MemoryDevice {
  const content = image === null ? null : readImage(image);
  const wanted = size ?? (content === null ? undefined : sizeFor(content.length));
  if (content !== null && wanted !== undefined && content.length > wanted) {
    throw new UsageError(`${image} has ${content.length} bytes and does not fit into ${wanted}`);
  }
  const device = new MemoryDevice({ asynchronous, ...(wanted === undefined ? {} : { size: wanted }) });
  if (content !== null) device.load(content);
  return device;
}

function makeNvme({ asynchronous, ram }: Extract<PlainSpec, { kind: 'nvme' }>): NvmeDevice {
  if (ram % SMALLEST !== 0) throw new UsageError(`--ram ${ram} is no multiple of ${SMALLEST} bytes`);
  return new NvmeDevice({ asynchronous, ram });
}

/** The smallest size of a memory device that holds so many bytes. */
export function sizeFor(bytes: number): number {
  return Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(Math.max(1, bytes))));
}

function readImage(path: string): Uint8Array {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(
      `the image ${path} can't be read: ${error instanceof Error ? error.message : error}`,
    );
  }
}

/** The default export of a module: a class or function that makes the device, or the device itself. */
async function deviceOfModule(path: string): Promise<BindableDevice> {
  const file = resolve(path);
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) {
    throw new UsageError(
      `there is no file ${file}; the devices known by name are ${DEVICE_NAMES.join(', ')}`,
    );
  }
  const module: { readonly default?: unknown } = await import(pathToFileURL(file).href);
  const device = await make(module.default);
  if (isDevice(device)) return device;
  throw new UsageError(`the default export of ${file} is no device: export a class that extends PciDevice`);
}

function make(exported: unknown): unknown {
  if (typeof exported !== 'function') return exported;
  return isDevice(exported.prototype)
    ? Reflect.construct(exported, [])
    : Reflect.apply(exported, undefined, []);
}

/** Devices of another copy of this package are welcome, so it is the shape that counts. */
function isDevice(value: unknown): value is BindableDevice {
  return typeof value === 'object' && value !== null && 'bind' in value && typeof value.bind === 'function';
}
