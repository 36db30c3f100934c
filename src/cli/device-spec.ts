import { type SerialEnd, serialEnd } from './serial-end.ts';
import { UsageError } from './usage-error.ts';

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
  | { readonly kind: 'module'; readonly path: string };

/** The same for a device with something at its other end, which is on the main thread. */
export type AttendedSpec =
  | {
      readonly kind: 'gpio';
      /** Levels from the start, such as `in3=1`. */
      readonly inputs: string;
      /** Outputs are printed as JSON. */
      readonly json: boolean;
    }
  | { readonly kind: 'serial'; readonly end: SerialEnd };

/** Any device. */
export type DeviceSpec = PlainSpec | AttendedSpec;

/** What the command line says about the device. */
export interface DeviceOptions {
  readonly size?: number;
  readonly image?: string;
  readonly ram?: number;
  readonly inputs?: string;
  readonly backend?: string;
  readonly dedicated?: boolean;
  readonly json?: boolean;
}

/** Which device an option is about. */
const OPTION_OF = {
  size: 'memory',
  image: 'memory',
  ram: 'nvme',
  inputs: 'gpio',
  backend: 'serial',
} as const;

/** The devices that are known by name. */
export const DEVICE_NAMES = ['edu', 'memory', 'gpio', 'serial', 'nvme'] as const;

/** The device that was asked for. Throws UsageError for a name that is none and for options that do not suit it. */
export function deviceSpec(name: string, options: DeviceOptions): DeviceSpec {
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
        end: serialEnd(required(options.backend, 'serial', '--backend stdio|unix:PATH')),
      };
    case 'nvme':
      return { kind: 'nvme', asynchronous, ram: required(options.ram, 'nvme', '--ram BYTES') };
  }
  if (/[/.]/.test(name)) return { kind: 'module', path: name };
  throw new UsageError(
    `there is no device ${name}: it is ${DEVICE_NAMES.join(', ')}, or the path of a JavaScript module`,
  );
}

function required<T>(value: T | undefined, device: string, option: string): T {
  if (value === undefined) throw new UsageError(`${device} needs ${option}`);
  return value;
}

function expectSuitable(name: string, options: DeviceOptions): void {
  for (const [option, device] of Object.entries(OPTION_OF)) {
    if (name !== device && option in options) {
      throw new UsageError(`--${option} belongs to the device ${device}, not to ${name}`);
    }
  }
  if (options.dedicated === true && (name === 'gpio' || name === 'serial')) {
    throw new UsageError(`${name} can't have a thread of its own: leave out --dedicated`);
  }
}
