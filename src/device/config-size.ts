import { wrongDeclaration } from './declaration-error.ts';
import type { DeviceOptions } from './device-options.ts';

/** Of conventional PCI, and of PCI-X up to mode 1 (PCI 3.0, section 6.1). */
const CONFIG_SIZE = 256;
/** Of PCI Express, and of PCI-X mode 2 (PCI-X Protocol Addendum 2.0a). */
export const EXTENDED_CONFIG_SIZE = 4096;

/** Bytes of a device's configuration space. Throws DeviceError (ERR_DEVICE_DECLARATION) for one that no PCI has. */
export function configSizeOf({ express, configSize }: DeviceOptions): 256 | 4096 {
  if (configSize === undefined) return express ? EXTENDED_CONFIG_SIZE : CONFIG_SIZE;
  if (configSize !== CONFIG_SIZE && configSize !== EXTENDED_CONFIG_SIZE) {
    throw wrongDeclaration(`a configuration space has 256 or 4096 bytes, not ${configSize}`, { configSize });
  }
  if (express && configSize === CONFIG_SIZE) {
    throw wrongDeclaration('PCI Express has 4096 bytes of configuration space', { configSize });
  }
  return configSize;
}
