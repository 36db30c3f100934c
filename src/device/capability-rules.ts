import type { Capability } from './capability.ts';
import { type ConfigRegister, isChoice } from './configuration-space.ts';
import { wrongDeclaration } from './declaration-error.ts';

/** Where capabilities of one kind lie, and how each begins. */
export interface CapabilitySpace<C extends Capability = never> {
  readonly what: string;
  /** The first byte, and the one behind the last. */
  readonly begin: number;
  readonly end: number;
  /** Bytes of id and next pointer. */
  readonly header: number;
  readonly largestId: number;
  /** The registers of id and next pointer of a capability at `at`. */
  heading(capability: C, at: number, next: number): readonly ConfigRegister[];
}

/** Throws DeviceError (ERR_DEVICE_DECLARATION) for a capability that by itself makes no sense. */
export function checkCapability(space: CapabilitySpace, capability: Capability): void {
  const { name, id, size, offset, registers = [], callbacks } = capability;
  const refuse = (why: string) => wrongDeclaration(`${space.what} ${name}: ${why}`, { name, id, size });
  if (!Number.isInteger(id) || id < 0 || id > space.largestId)
    throw refuse(`its id is 0 to ${space.largestId}`);
  if (!Number.isInteger(size) || size < space.header) {
    throw refuse(`its size in bytes includes the ${space.header} of its header`);
  }
  if (offset !== undefined && (!Number.isInteger(offset) || offset % 4 !== 0)) {
    throw refuse('its offset is a multiple of 4');
  }
  if (callbacks !== undefined && registers.length > 0)
    throw refuse('it has registers or callbacks, not both');
  let end = space.header;
  for (const register of [...registers].sort((a, b) => a.offset - b.offset)) {
    const wrong = wrongRegister(register);
    if (wrong !== null) throw refuse(`${register.name}: ${wrong}`);
    if (register.offset < end) throw refuse(`${register.name} overlaps what is before it`);
    end = register.offset + register.size;
    if (end > size) throw refuse(`${register.name} is not inside`);
  }
}

/** What is wrong with a register by itself; null when nothing is. */
function wrongRegister(register: ConfigRegister): string | null {
  const { offset, size, reset = 0, writable = 0, clearable = 0, volatile = 0, choices } = register;
  if (!Number.isInteger(offset)) return 'its offset is whole';
  if (![1, 2, 3, 4].includes(size)) return 'it has 1 to 4 bytes';
  const fits = (value: number) => Number.isInteger(value) && value >= 0 && value < 2 ** (8 * size);
  if (![reset, writable, clearable, volatile].every(fits))
    return `a value or mask does not fit its ${size} bytes`;
  if ((writable & clearable) !== 0) return 'a bit is either written or cleared by writing 1';
  if (choices === undefined) return null;
  if ((choices.mask & ~writable) !== 0) return 'its choices are among bits that software writes';
  return isChoice(register, reset) ? null : 'its reset value is none of its choices';
}
