import type { Capability } from './capability.ts';

/** PCI Express, where `true` does not say enough. */
export interface ExpressDeclaration {
  /** Whether software can reset the function by Initiate FLR in Device Control. True by default. */
  readonly functionLevelReset?: boolean;
  /** The largest payload of a transaction, in bytes: 128 (the default), 256, 512, 1024, 2048 or 4096. */
  readonly maxPayload?: number;
}

/** The sizes that Device Capabilities can tell, by their encoding (section 7.5.3.3). */
export const MAX_PAYLOADS: readonly number[] = [128, 256, 512, 1024, 2048, 4096];

/** Device Capabilities bits (PCI Express Base Specification, section 7.5.3.3). */
export const DeviceCapability = { ROLE_BASED_ERRORS: 0x8000, FUNCTION_LEVEL_RESET: 0x1000_0000 } as const;

/** Device Control bits (section 7.5.3.4). INITIATE_FLR reads 0 always. */
export const DeviceControl = { MAX_PAYLOAD: 0x00e0, INITIATE_FLR: 0x8000 } as const;

/** Device Status bits (section 7.5.3.5). */
export const DeviceStatus = { ERRORS: 0x000f, TRANSACTIONS_PENDING: 0x0020 } as const;

/** Relaxed ordering, no snoop and 512-byte read requests are on after reset. */
const DEVICE_CONTROL = 0x2810;
/** Error reporting, relaxed ordering, no snoop, read request size. */
const DEVICE_CONTROL_WRITABLE = 0x781f;
/** ASPM control, RCB, common clock and extended synch. */
const LINK_CONTROL_WRITABLE = 0x00cb;
/** 2.5 GT/s, x1: in Link Capabilities and Link Status. */
const LINK = 0x0011;

/**
 * The PCI Express capability, version 2, of an endpoint on a 2.5 GT/s x1 link (section 7.5.3). Of the registers of
 * slots and root ports nothing is there, as in every endpoint: they read 0.
 */
export function expressCapability({
  functionLevelReset = true,
  maxPayload = 128,
}: ExpressDeclaration): Capability {
  const payload = MAX_PAYLOADS.indexOf(maxPayload);
  const reset = functionLevelReset ? DeviceCapability.FUNCTION_LEVEL_RESET : 0;
  // A function with the smallest payload only may hardwire the choice to it.
  const choices = {
    mask: DeviceControl.MAX_PAYLOAD,
    values: MAX_PAYLOADS.slice(0, payload + 1).map((_, code) => code << 5),
  };
  return {
    name: 'EXPRESS',
    id: 0x10,
    size: 0x3c,
    registers: [
      { name: 'CAPABILITIES', offset: 0x02, size: 2, reset: 0x0002 },
      {
        name: 'DEVICE_CAPABILITIES',
        offset: 0x04,
        size: 4,
        reset: DeviceCapability.ROLE_BASED_ERRORS | reset | payload,
      },
      {
        name: 'DEVICE_CONTROL',
        offset: 0x08,
        size: 2,
        reset: DEVICE_CONTROL,
        writable: DEVICE_CONTROL_WRITABLE | DeviceControl.MAX_PAYLOAD,
        choices,
      },
      {
        name: 'DEVICE_STATUS',
        offset: 0x0a,
        size: 2,
        clearable: DeviceStatus.ERRORS,
        volatile: DeviceStatus.TRANSACTIONS_PENDING,
      },
      { name: 'LINK_CAPABILITIES', offset: 0x0c, size: 4, reset: LINK },
      { name: 'LINK_CONTROL', offset: 0x10, size: 2, writable: LINK_CONTROL_WRITABLE },
      { name: 'LINK_STATUS', offset: 0x12, size: 2, reset: LINK },
      { name: 'DEVICE_CAPABILITIES_2', offset: 0x24, size: 4 },
      { name: 'DEVICE_CONTROL_2', offset: 0x28, size: 2 },
      { name: 'DEVICE_STATUS_2', offset: 0x2a, size: 2 },
      { name: 'LINK_CAPABILITIES_2', offset: 0x2c, size: 4, reset: 0x0002 },
      { name: 'LINK_CONTROL_2', offset: 0x30, size: 2, reset: 0x0001 },
      { name: 'LINK_STATUS_2', offset: 0x32, size: 2 },
    ],
  };
}
