import { type PciCapability, parsePciConfig } from '../../client/index.ts';
import { Errno, FerryError } from '../../errors/index.ts';
import {
  CAPABILITY_SETUP,
  COMMAND_SETUP,
  HEADER_IDENTITY,
  HEADER_SETUP,
  type SetupRegister,
} from './config-registers.ts';

/** One write to configuration space. */
export interface ConfigWrite {
  readonly name: string;
  /** Bytes from the beginning of configuration space. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** A register where it stands in this configuration space. */
interface PlacedRegister extends SetupRegister {
  readonly at: number;
}

/**
 * The writes that make the configuration space `own` what `wanted` is, in their order: COMMAND last. What waits for a
 * withheld action (bits of WithheldAction) is written as if it were off.
 * @throws FerryError ERR_CONFIGURATION_DIFFERS when it is that of another device, or of none
 */
export function setupWrites(own: Uint8Array, wanted: Uint8Array, withheld: number): readonly ConfigWrite[] {
  const registers = registersOf(own, wanted);
  return registers.map((register) => writeOf(register, wanted, withheld));
}

/** The writes that are due now that `actions` are, while `withheld` ones still are not: registers with such bits. */
export function actionWrites(
  own: Uint8Array,
  wanted: Uint8Array,
  actions: number,
  withheld: number,
): readonly ConfigWrite[] {
  return registersOf(own, wanted)
    .filter(({ waits = [] }) => waits.some(({ action }) => (action & actions) !== 0))
    .map((register) => writeOf(register, wanted, withheld));
}

/** Every register that is set up, in order. */
function registersOf(own: Uint8Array, wanted: Uint8Array): readonly PlacedRegister[] {
  const [ours, theirs] = [parsePciConfig(own), parsePciConfig(wanted)];
  if (ours === null || theirs === null || own.length !== wanted.length) {
    throw differs(`it has ${wanted.length} bytes here and ${own.length} there`, {});
  }
  requireSameDevice(own, wanted);
  requireSameCapabilities(ours.capabilities, theirs.capabilities);
  const capabilities = CAPABILITY_SETUP.flatMap(({ id, registers }) => {
    const found = ours.capabilities.find((each) => each.id === id && !each.extended);
    return found === undefined ? [] : placed(registers(controlOf(own, found)), found.offset, own.length);
  });
  return [...placed(HEADER_SETUP, 0, own.length), ...capabilities, ...placed([COMMAND_SETUP], 0, own.length)];
}

function placed(registers: readonly SetupRegister[], base: number, size: number): readonly PlacedRegister[] {
  return registers
    .map((register) => ({ ...register, at: base + register.offset }))
    .filter((register) => register.at + register.size <= size);
}

/** The word behind the head of a capability, which says how it is laid out. */
function controlOf(own: Uint8Array, { offset }: PciCapability): number {
  return (own[offset + 2] ?? 0) | ((own[offset + 3] ?? 0) << 8);
}

function writeOf(register: PlacedRegister, wanted: Uint8Array, withheld: number): ConfigWrite {
  const { name, at, size, never = 0, waits = [] } = register;
  const bytes = wanted.slice(at, at + size);
  const view = new DataView(bytes.buffer);
  const [get, set] = accessors(view, size);
  let value = get() & ~never;
  for (const { action, bits, meanwhile } of waits) {
    if ((action & withheld) !== 0) value = meanwhile === 'set' ? value | bits : value & ~bits;
  }
  set(value);
  return { name, offset: at, bytes };
}

function accessors(view: DataView, size: 1 | 2 | 4): [() => number, (value: number) => void] {
  if (size === 1) return [() => view.getUint8(0), (value) => view.setUint8(0, value)];
  if (size === 2) return [() => view.getUint16(0, true), (value) => view.setUint16(0, value, true)];
  return [() => view.getUint32(0, true), (value) => view.setUint32(0, value >>> 0, true)];
}

function requireSameDevice(own: Uint8Array, wanted: Uint8Array): void {
  for (const { name, offset, size } of HEADER_IDENTITY) {
    for (let at = offset; at < offset + size; at++) {
      if (own[at] !== wanted[at]) throw differs(`${name} is another one`, { register: name });
    }
  }
}

/** Registers stand in capabilities, so that these have to stand in the same places. */
function requireSameCapabilities(ours: readonly PciCapability[], theirs: readonly PciCapability[]): void {
  for (const { id } of CAPABILITY_SETUP) {
    const [here, there] = [ours, theirs].map((list) => list.find((each) => each.id === id && !each.extended));
    if (here?.offset === there?.offset) continue;
    const name = (here ?? there)?.name ?? `capability ${id}`;
    throw differs(`${name} is not in the same place`, { capability: id });
  }
}

function differs(why: string, context: Readonly<Record<string, string | number>>): FerryError {
  const message = `the configuration space is of another device: ${why}`;
  return new FerryError('ERR_CONFIGURATION_DIFFERS', message, { errno: Errno.EINVAL, context });
}
