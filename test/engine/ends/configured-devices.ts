import {
  DeviceError,
  type DeviceMigration,
  type MigrationServices,
  PciDevice,
  RunLevel,
  u32,
} from '../../../src/device/index.ts';
import { Errno } from '../../../src/errors/index.ts';
import type { ConfigurationMode } from '../../../src/protocol/index.ts';
import { isRunning, MigrationState, mayInitiateDma } from '../../../src/states/index.ts';

const REGISTERS = 16;
const RECORD = 16;
/** Registers of configuration space that a guest has set, and a device may have to keep. */
const KEPT = ['BAR0', 'INTERRUPT_LINE', 'MSIX.CONTROL', 'COMMAND'] as const;

/**
 * A device whose state is a list of records, each an address and a value, without its configuration space: once as it
 * is in PRE_COPY, once more when it has stopped. What a record means is the subclasses' affair.
 */
abstract class RecordDevice extends PciDevice {
  override readonly identity = { kind: 'records', vendor: 0x1af4, device: 0x10f7, classCode: 0xff0000 };
  override readonly interrupts = { intx: true, msi: 2, msix: 2 };
  readonly state = this.migratable({ unused: u32() });
  readonly values = new Uint32Array(REGISTERS);
  override readonly bars = {
    0: this.callbacks(4096, {
      read: (offset, target, at, length) => {
        const value = this.values[offset / 4] ?? 0;
        new DataView(target.buffer, target.byteOffset + at, length).setUint32(0, value, true);
      },
      write: (offset, source, at) => {
        this.values[offset / 4] = new DataView(source.buffer, source.byteOffset + at, 4).getUint32(0, true);
      },
    }),
  };
  protected readonly mode: ConfigurationMode | null;

  /** `mode`: what its server says; null: it is a server that says nothing, because it does not know of that. */
  constructor(mode: ConfigurationMode | null) {
    super();
    this.mode = mode;
  }

  /** Where the guest sees the registers. */
  protected get base(): number {
    return (this.configuration.get('BAR0') & ~0xf) >>> 0;
  }

  /** The address that a record names for a register. */
  protected abstract addressOf(register: number): number;
  /** The register that a record names, before it is applied. */
  protected abstract arrived(address: number, services: MigrationServices): number;

  protected keep(): () => void {
    const before = KEPT.map((name) => [name, this.configuration.get(name)] as const);
    return () => {
      for (const [name, value] of before) this.configuration.set(name, value);
    };
  }

  protected override createMigration(services: MigrationServices): DeviceMigration {
    let waiting: Buffer = Buffer.alloc(0);
    let partial: Buffer = Buffer.alloc(0);
    const records = (): Buffer => {
      const bytes = Buffer.alloc(REGISTERS * RECORD);
      this.values.forEach((value, i) => {
        bytes.writeBigUInt64LE(BigInt(this.addressOf(i)), i * RECORD);
        bytes.writeBigUInt64LE(BigInt(value), i * RECORD + 8);
      });
      return bytes;
    };
    const enter = (to: MigrationState): void => {
      if (to === MigrationState.PRE_COPY) waiting = records();
      if (to === MigrationState.STOP_COPY) waiting = Buffer.concat([waiting, records()]);
      if (to !== MigrationState.RESUMING) return;
      partial = Buffer.alloc(0);
      this.values.fill(0);
      services.resetState();
    };
    return {
      flags: 7,
      ...(this.mode === null ? {} : { configuration: this.mode }),
      arc: (_from, to) => {
        const level = mayInitiateDma(to)
          ? RunLevel.RUNNING
          : isRunning(to)
            ? RunLevel.NO_DMA
            : RunLevel.STOPPED;
        const pending = services.setLevel(level);
        return pending === undefined ? enter(to) : pending.then(() => enter(to));
      },
      read: (target) => {
        const count = waiting.copy(target);
        waiting = waiting.subarray(count);
        return count;
      },
      write: (data) => {
        partial = Buffer.concat([partial, data]);
        for (; partial.length >= RECORD; partial = partial.subarray(RECORD)) {
          const register = this.arrived(Number(partial.readBigUInt64LE(0)), services);
          this.values[register] = Number(partial.readBigUInt64LE(8));
        }
      },
      precopyInfo: () => ({ initialBytes: BigInt(waiting.length), dirtyBytes: 0n }),
      dataSize: () => BigInt(REGISTERS * RECORD),
      reset: () => {
        waiting = Buffer.alloc(0);
        this.values.fill(0);
      },
    };
  }
}

/** Its records name the guest's addresses: it has to know where its BAR is before it can load one. */
export class AddressedDevice extends RecordDevice {
  protected addressOf(register: number): number {
    return this.base + 4 * register;
  }

  protected arrived(address: number): number {
    return requireRegister((address - this.base) / 4);
  }
}

/** Whatever it loads initialises it first, configuration included: that has to be set up when the last record is in. */
export class ForgetfulDevice extends RecordDevice {
  protected addressOf(register: number): number {
    return 4 * register;
  }

  protected arrived(address: number, services: MigrationServices): number {
    services.resetState();
    return requireRegister(address / 4);
  }
}

/** Needs its configuration ahead and forgets it with each record, but keeps by itself what it was given. */
export class FilteringDevice extends AddressedDevice {
  protected override arrived(address: number, services?: MigrationServices): number {
    const register = super.arrived(address);
    const restore = this.keep();
    services?.resetState();
    restore();
    return register;
  }
}

/** The same device, which relies on others to keep what it was given. */
export class CarelessDevice extends AddressedDevice {
  protected override arrived(address: number, services?: MigrationServices): number {
    const register = super.arrived(address);
    // Its last record is the one that makes it forget.
    if (register === REGISTERS - 1) services?.resetState();
    return register;
  }
}

function requireRegister(register: number): number {
  if (Number.isInteger(register) && register >= 0 && register < REGISTERS) return register;
  throw new DeviceError('ERR_DEVICE_MIGRATION', 'a record names an address that no BAR of the device has', {
    errno: Errno.EINVAL,
  });
}
