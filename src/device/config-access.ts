import { Errno } from '../errors/index.ts';
import type { ConfigRegister, ConfigurationSpace } from './configuration-space.ts';
import { DeviceError } from './device-error.ts';

/**
 * The registers of a configuration space by name, as the device itself sees them: `COMMAND`, `STATUS`,
 * `MSI.CONTROL`, or `NAME.REGISTER` of an author's own capability.
 */
export class ConfigAccess {
  readonly #config: ConfigurationSpace;
  readonly #changed: () => void;

  /** `changed` is called when the device has set a register. */
  constructor(config: ConfigurationSpace, changed: () => void) {
    this.#config = config;
    this.#changed = changed;
  }

  /** The offset of a register in the configuration space, in bytes. Throws DeviceError for a name that is not there. */
  offsetOf(name: string): number {
    return this.#config.register(name).offset;
  }

  /** A register's value, up to 32 bits. Throws DeviceError for a name that is not there. */
  get(name: string): number {
    return this.#config.get(this.#config.register(name)) >>> 0;
  }

  /**
   * Sets a register, such as an error bit in `STATUS` that software clears. Throws DeviceError EINVAL for a name that
   * is not there, and where another bit would change than those declared writable, clearable or volatile: the rest is
   * what the device is, and a migration compares it.
   */
  set(name: string, value: number): void {
    const register = this.#config.register(name);
    const changes = (this.#config.get(register) ^ value) >>> 0;
    if (
      !Number.isInteger(value) ||
      value < 0 ||
      (changes & ~changeable(register)) !== 0 ||
      value >= 2 ** 32
    ) {
      throw fixedBits(name, value);
    }
    this.#config.set(register, value);
    this.#changed();
  }
}

function changeable({ writable = 0, clearable = 0, volatile = 0 }: ConfigRegister): number {
  return writable | clearable | volatile;
}

function fixedBits(name: string, value: number): DeviceError {
  const message = `${name} can't become ${value}: bits that nobody declared writable, clearable or volatile would change`;
  return new DeviceError('ERR_DEVICE_ACCESS', message, {
    errno: Errno.EINVAL,
    context: { register: name, value },
  });
}
