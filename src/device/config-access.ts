import { Errno } from '../errors/index.ts';
import { type ConfigRegister, type ConfigurationSpace, isChoice } from './configuration-space.ts';
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
    const { offset, size } = this.#config.register(name);
    const bytes = new Uint8Array(4);
    this.#config.read(offset, bytes, 0, size);
    return new DataView(bytes.buffer).getUint32(0, true);
  }

  /**
   * Sets a register, such as an error bit in `STATUS` that software clears. Throws DeviceError EINVAL for a name that
   * is not there, for a value that software could not choose, and where another bit would change than those declared
   * writable, clearable or volatile: the rest is what the device is, and a migration compares it.
   */
  set(name: string, value: number): void {
    const register = this.#config.register(name);
    const changes = (this.#config.get(register) ^ value) >>> 0;
    const fits = Number.isInteger(value) && value >= 0 && value < 2 ** 32 && isChoice(register, value);
    if (!fits || (changes & ~changeable(register)) !== 0) throw fixedBits(name, value);
    this.#config.set(register, value);
    this.#changed();
  }
}

function changeable({ writable = 0, clearable = 0, volatile = 0 }: ConfigRegister): number {
  return writable | clearable | volatile;
}

function fixedBits(name: string, value: number): DeviceError {
  const message = `${name} can't become ${value}: it changes only as far as it is declared writable, clearable or volatile`;
  return new DeviceError('ERR_DEVICE_ACCESS', message, {
    errno: Errno.EINVAL,
    context: { register: name, value },
  });
}
