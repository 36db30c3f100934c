import { isKernelDevice } from '../../kernel/index.ts';
import { UsageError } from '../outcome/usage-error.ts';
import type { AuthorOptions } from './author/author-options.ts';
import { type SerialEnd, serialEnd } from './backends/serial-end.ts';

/** Which device is to be made, as data: it is handed to a thread in dedicated mode. */
export type PlainSpec =
  | { readonly kind: 'edu'; readonly asynchronous: boolean }
  | {
      readonly kind: 'memory';
      readonly asynchronous: boolean;
      /** Bytes; null for the device's default, or for what the image needs. */
      readonly size: number | null;
      /** A file whose content is loaded. */
      readonly image: string | null;
    }
  | {
      readonly kind: 'nvme';
      readonly asynchronous: boolean;
      /** Bytes of the namespace. */
      readonly ram: number;
    }
  | { readonly kind: 'module'; readonly path: string; readonly options: AuthorOptions };

/** The same for a device with something at its other end that the main thread takes care of. */
export type AttendedSpec =
  | {
      readonly kind: 'gpio';
      /** Levels from the start, such as `in3=1`. */
      readonly inputs: string;
      /** Outputs are printed as JSON. */
      readonly json: boolean;
    }
  | { readonly kind: 'serial'; readonly end: SerialEnd }
  /** An nvme whose namespace is a file. */
  | { readonly kind: 'disk'; readonly path: string }
  /** A device of the kernel. */
  | {
      readonly kind: 'kernel';
      readonly name: string;
      /** Clients may map its BARs. */
      readonly map: boolean;
    };

/** Any device. */
export type DeviceSpec = PlainSpec | AttendedSpec;

/** What the command line says about the device. */
export interface DeviceOptions {
  readonly size?: number;
  readonly image?: string;
  readonly ram?: number;
  readonly inputs?: string;
  readonly backend?: string;
  readonly option?: AuthorOptions;
  readonly mapBars?: boolean;
  readonly dedicated?: boolean;
  readonly json?: boolean;
}

/** Which devices an option is about. */
const OPTION_OF: Readonly<Record<string, readonly string[]>> = {
  size: ['memory'],
  image: ['memory'],
  ram: ['nvme'],
  inputs: ['gpio'],
  backend: ['serial', 'nvme'],
};

/** The devices that are known by name. */
export const DEVICE_NAMES = ['edu', 'memory', 'gpio', 'serial', 'nvme'] as const;

/** Whether a file is meant and not a device that is known by name. */
function isPath(name: string): boolean {
  return /[/.]/.test(name);
}

/** The device that was asked for. Throws UsageError for a name that is none and for options that do not suit it. */
export function deviceSpec(name: string, options: DeviceOptions): DeviceSpec {
  if (isKernelDevice(name)) return kernelSpec(name, options);
  expectSuitable(name, options);
  const asynchronous = options.dedicated !== true;
  const { size = null, image = null, inputs = '', json = false } = options;
  switch (name) {
    case 'edu':
      return { kind: 'edu', asynchronous };
    case 'memory':
      return { kind: 'memory', asynchronous, size, image };
    case 'gpio':
      return { kind: 'gpio', inputs, json };
    case 'serial':
      return {
        kind: 'serial',
        end: serialEnd(required(options.backend, 'serial', '--backend stdio|pty|unix:PATH')),
      };
    case 'nvme':
      return nvmeSpec(options, asynchronous);
  }
  if (isPath(name)) return { kind: 'module', path: name, options: options.option ?? {} };
  throw new UsageError(
    `there is no device ${name}: it is ${DEVICE_NAMES.join(', ')}, or the path of a module in TypeScript or JavaScript`,
  );
}

function kernelSpec(name: string, { mapBars = false, dedicated, ...others }: DeviceOptions): DeviceSpec {
  if (dedicated === true) throw notDedicated('a device of the kernel');
  const unfit = Object.keys(OPTION_OF).find((option) => option in others);
  if (unfit !== undefined || 'option' in others)
    throw new UsageError(`--${unfit ?? 'option'} is not for a device of the kernel`);
  return { kind: 'kernel', name, map: mapBars };
}

function nvmeSpec({ ram, backend, dedicated }: DeviceOptions, asynchronous: boolean): DeviceSpec {
  if ((ram === undefined) === (backend === undefined)) {
    throw new UsageError('give the namespace of nvme as --backend FILE or as --ram BYTES');
  }
  if (backend === undefined) return { kind: 'nvme', asynchronous, ram: required(ram, 'nvme', '--ram BYTES') };
  if (dedicated === true) throw notDedicated('nvme with a file');
  return { kind: 'disk', path: backend };
}

function notDedicated(what: string): UsageError {
  return new UsageError(`${what} can't have a thread of its own: leave out --dedicated`);
}

function required<T>(value: T | undefined, device: string, option: string): T {
  if (value === undefined) throw new UsageError(`${device} needs ${option}`);
  return value;
}

function expectSuitable(name: string, options: DeviceOptions): void {
  for (const [option, devices] of Object.entries(OPTION_OF)) {
    if (option in options && !devices.includes(name)) {
      throw new UsageError(`--${option} belongs to the device ${devices.join(' or ')}, not to ${name}`);
    }
  }
  if (options.mapBars === true) throw new UsageError('--map-bars is for devices of the kernel');
  if ('option' in options && !isPath(name))
    throw new UsageError(`--option belongs to a module of yours, not to ${name}`);
  if (options.dedicated === true && (name === 'gpio' || name === 'serial')) throw notDedicated(name);
}
