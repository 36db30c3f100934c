import { UsageError } from './usage-error.ts';

/** Which device is to be made, as data: it is handed to a thread in dedicated mode. */
export type DeviceSpec =
  | { readonly kind: 'edu'; readonly asynchronous: boolean }
  | {
      readonly kind: 'memory';
      readonly asynchronous: boolean;
      /** Bytes; null for the device's default, or for what the image needs. */
      readonly size: number | null;
      /** A file whose content is loaded. */
      readonly image: string | null;
    }
  | { readonly kind: 'module'; readonly path: string };

/** What the command line says about the device. */
export interface DeviceOptions {
  readonly size?: number;
  readonly image?: string;
  readonly dedicated?: boolean;
}

/** The device that was asked for. Throws UsageError for a name that is none and for options that do not suit it. */
export function deviceSpec(name: string, options: DeviceOptions): DeviceSpec {
  const asynchronous = options.dedicated !== true;
  const { size = null, image = null } = options;
  if (name === 'memory') return { kind: 'memory', asynchronous, size, image };
  if (size !== null) throw new UsageError(`--size belongs to the device memory, not to ${name}`);
  if (image !== null) throw new UsageError(`--image belongs to the device memory, not to ${name}`);
  if (name === 'edu') return { kind: 'edu', asynchronous };
  if (/[/.]/.test(name)) return { kind: 'module', path: name };
  throw new UsageError(`there is no device ${name}: it is edu, memory, or the path of a JavaScript module`);
}
