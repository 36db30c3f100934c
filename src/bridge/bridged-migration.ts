import type { DeviceMigration } from '../device/index.ts';
import { Errno } from '../errors/index.ts';
import { type DataSession, type KernelDevice, KernelError } from '../kernel/index.ts';
import type { MigrationState } from '../states/index.ts';

/** The migration of a device of the kernel, driven by whoever drives its server. */
export class BridgedMigration implements DeviceMigration {
  readonly flags: number;
  readonly #device: KernelDevice;

  constructor(device: KernelDevice, flags: number) {
    this.#device = device;
    this.flags = flags;
  }

  async arc(_from: MigrationState, to: MigrationState): Promise<void> {
    await this.#device.setMigrationState(to);
  }

  /** Short reads of the driver are no end on the wire: it is read until it has no more. */
  read(target: Uint8Array): number {
    return this.#session().readNow(target);
  }

  write(data: Uint8Array): void {
    this.#session().writeNow(data);
  }

  precopyInfo(): { readonly initialBytes: bigint; readonly dirtyBytes: bigint } {
    return this.#session().precopyInfoNow() ?? { initialBytes: 0n, dirtyBytes: 0n };
  }

  dataSize(): bigint {
    return this.#device.migration.dataSizeNow() ?? 0n;
  }

  reset(): void {
    this.#device.migration.close();
  }

  #session(): DataSession {
    const { session } = this.#device.migration;
    if (session !== null) return session;
    const message = `${this.#device.path} has no session`;
    throw new KernelError('ERR_KERNEL_ARGUMENT', message, Errno.EINVAL);
  }
}
