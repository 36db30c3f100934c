import type { BindableDevice, DeviceHost, PciIdentity, ServedDevice } from '../device/index.ts';
import { Errno } from '../errors/index.ts';
import { type KernelDevice, KernelError } from '../kernel/index.ts';
import { RESET_STATE, stateName } from '../states/index.ts';
import { BridgedDevice } from './bridged-device.ts';
import { identityOf } from './identity.ts';

/** How a device of the kernel is served. */
export interface KernelBridgeOptions {
  /**
   * Clients may map the BARs that the kernel lets map. Faster; but whoever has mapped one has the device itself, with
   * all that the kernel lets do with it, and it can't be replaced any more. False by default.
   */
  readonly map?: boolean;
}

/**
 * A device of the kernel as one that can be served: a VMM that has it by vfio-user gets what comes with a server,
 * holds, claims, tracing, migration. Interrupts go from the kernel to the VMM, DMA through the IOMMU.
 */
export class KernelBridge implements BindableDevice {
  readonly #device: KernelDevice;
  readonly #identity: Required<PciIdentity>;
  readonly #flags: number;
  readonly #map: boolean;

  private constructor(
    device: KernelDevice,
    identity: Required<PciIdentity>,
    flags: number,
    { map = false }: KernelBridgeOptions,
  ) {
    this.#device = device;
    this.#identity = identity;
    this.#flags = flags;
    this.#map = map;
  }

  /**
   * Takes an open device over. One that an earlier user has left in the middle of a migration is reset.
   * @throws KernelError when it does not run afterwards
   */
  static async over(device: KernelDevice, options: KernelBridgeOptions = {}): Promise<KernelBridge> {
    const flags = await device.migrationFlags();
    if (flags !== null) await requireRunning(device);
    return new KernelBridge(device, await identityOf(device), Number(flags ?? 0n), options);
  }

  bind(host: DeviceHost): ServedDevice {
    return new BridgedDevice(this.#device, this.#identity, host, { flags: this.#flags, map: this.#map });
  }
}

async function requireRunning(device: KernelDevice): Promise<void> {
  if ((await device.migrationState()) === RESET_STATE) return;
  await device.reset();
  const state = await device.migrationState();
  if (state === RESET_STATE) return;
  const message = `${device.path} was left in ${stateName(state)}, and does not run after a reset`;
  throw new KernelError('ERR_KERNEL_LEFT_OVER', message, Errno.EBUSY);
}
