import type { RegionCallbacks } from './callback-content.ts';
import type { Capability, ExtendedCapability } from './capability.ts';
import type { ExpressDeclaration } from './express-capability.ts';
import type { PowerManagementDeclaration } from './power-management.ts';

/** What a device's author may say besides identity, BARs and interrupts. */
export interface DeviceOptions {
  /**
   * A PCI Express endpoint: 4096 bytes of configuration space with the capability; more precisely where `true` does
   * not say enough. False by default: a conventional device with 256 bytes.
   */
  readonly express?: boolean | ExpressDeclaration;
  /**
   * Bytes of the configuration space: by default 4096 for PCI Express, else 256. 4096 without `express` is PCI-X of
   * mode 2; the capability of PCI-X (id 7) is declared like any other in `capabilities`.
   */
  readonly configSize?: 256 | 4096;
  /** A power management capability with D0 and D3hot; more precisely where `true` does not say enough. False by default. */
  readonly powerManagement?: boolean | PowerManagementDeclaration;
  /**
   * Refuse DMA with ENODEV while the guest has not set COMMAND.Bus Master, as a real function would stay off the bus.
   * False by default: a VMM refuses message DMA by itself, and memory that it has shared it does not guard either.
   */
  readonly requireBusMaster?: boolean;
  /**
   * The expansion ROM: 1 byte to 16 MiB, copied when the device is bound. Its region has the next power of two of
   * bytes, at least 2 KiB, and reads 0xff behind the contents. A client reads it whether or not the guest has set the
   * enable bit of the ROM BAR: decoding addresses is the VMM's. It is not state: both ends of a migration have theirs.
   */
  readonly rom?: Uint8Array;
  /**
   * The VGA region (VFIO_PCI_VGA_REGION_INDEX) behind callbacks: offsets are the legacy addresses, 0x3b0 to 0x3bb and
   * 0x3c0 to 0x3df of the ports, 0xa0000 to 0xbffff of the memory; an access elsewhere, or over a border, gets EINVAL.
   * For devices with class code 0x030000. What the callbacks keep belongs into the declared state.
   */
  readonly vga?: RegionCallbacks;
  /**
   * Reset the device when its VMM's connection has ended, as a DEVICE_RESET from there would: after what the VMM wrote,
   * and during a hold when that ends. False by default: a VMM that comes back finds its device as it was.
   */
  readonly resetOnDisconnect?: boolean;
  /** Device serial number, a 64-bit EUI-64: the extended capability of that name. Needs 4096 bytes of configuration space. */
  readonly serialNumber?: bigint;
  /** Further capabilities: {@link vendorSpecific}, or the author's own as data or behind callbacks. */
  readonly capabilities?: readonly Capability[];
  /** Further extended capabilities: {@link vendorSpecificExtended}, or the author's own. Need 4096 bytes too. */
  readonly extendedCapabilities?: readonly ExtendedCapability[];
}
