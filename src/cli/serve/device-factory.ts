import { readFileSync } from 'node:fs';
import type { BindableDevice } from '../../device/index.ts';
import { Edu, MemoryDevice, NvmeDevice } from '../../devices/index.ts';
import { UsageError } from '../outcome/usage-error.ts';
import { authorDevice } from './author/author-device.ts';
import type { PlainSpec } from './device-spec.ts';

/** Smallest size of the memory device, one page; a namespace of nvme has whole ones. */
const SMALLEST = 4096;

/**
 * Makes a device. The default export, because a dedicated thread loads this module by itself.
 * @throws UsageError for an image that can't be used, ModuleError for an author's module
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
      return authorDevice(spec.path, spec.options);
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
