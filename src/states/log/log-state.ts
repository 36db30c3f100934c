import { MigrationState, stateName } from '../migration-state.ts';
import type { RuleSet } from '../rules/rule-set.ts';
import { V1_STATE_MASK, v1Bits, v1Name } from '../v1/device-state.ts';

/** A state as a log has it, before it is known by which rules it is read. */
export interface LogState {
  /** As it is shown: `PRE_COPY`, `PRE_COPY (011)`. */
  readonly text: string;
  /** Its name, such as `PRE_COPY`. */
  readonly name: string;
  /** The value of v1's register device_state where the log gave that, else null. */
  readonly bits: number | null;
}

/** How plain numbers are meant: as device_state of v1 or as enum vfio_device_mig_state of v2; null: not said. */
export type NumberMeaning = 'v1' | 'v2' | null;

/** Other names by which the same states go (libvfio-user's log, QEMU's documentation). */
const ALIASES = new Map([
  ['STOPPED', 'STOP'],
  ['STOP_AND_COPY', 'STOP_COPY'],
  ['RESUME', 'RESUMING'],
  ['PRECOPY', 'PRE_COPY'],
  ['PRECOPY_P2P', 'PRE_COPY_P2P'],
]);

const NAMES = new Set(Object.keys(MigrationState));

const MAX_REGISTER = 0xffff_ffff;

/**
 * The state that a word stands for: a name in any spelling (`pre-copy`, `VFIO_DEVICE_STATE_PRE_COPY`), three bits
 * (`011`, `0b011`, `011b`), or a number if `numbers` says whose. Null when it is none; `ambiguous` for a number
 * whose meaning is not known.
 */
export function parseLogState(word: string, numbers: NumberMeaning): LogState | null | 'ambiguous' {
  const bits = /^(?:0b)?([01]{3})b?$/i.exec(word)?.[1];
  if (bits !== undefined) return stateOfBits(Number.parseInt(bits, 2));
  if (/^(?:0x[0-9a-f]{1,8}|[0-9]{1,10})$/i.test(word)) return parseNumber(Number(word), numbers);
  return stateOfName(word);
}

/** The state of a name in any spelling, or null. */
export function stateOfName(word: string): LogState | null {
  const plain = word
    .toUpperCase()
    .replaceAll('-', '_')
    .replace(/^VFIO_DEVICE_STATE_/, '');
  const name = ALIASES.get(plain) ?? plain;
  return NAMES.has(name) ? { text: name, name, bits: null } : null;
}

/** The state of a value of v1's device_state. */
export function stateOfBits(value: number): LogState {
  const name = v1Name(value & V1_STATE_MASK);
  const shown = value === (value & V1_STATE_MASK) ? v1Bits(value) : `0x${value.toString(16)}`;
  return { text: `${name} (${shown})`, name, bits: value };
}

/** The number that the state has in a rule set; null when that does not know it. */
export function stateCode(rules: RuleSet, state: LogState): number | null {
  if (rules.interface === 'v1' && state.bits !== null) return state.bits;
  return rules.states.find(({ name }) => name === state.name)?.code ?? null;
}

function parseNumber(value: number, numbers: NumberMeaning): LogState | null | 'ambiguous' {
  if (numbers === null) return 'ambiguous';
  if (value > MAX_REGISTER) return null;
  return numbers === 'v1' ? stateOfBits(value) : stateOfName(stateName(value));
}

/**
 * The number in a rule set of a state that a person names: by name, by v1's bits, or by the number that the rule set's
 * interface gives it. Null when the rule set does not have it.
 */
export function findState(rules: RuleSet, word: string): number | null {
  const state = parseLogState(word, rules.interface);
  if (state === null || state === 'ambiguous') return null;
  const code = stateCode(rules, state);
  return code === null || !rules.states.some((known) => known.code === code) ? null : code;
}
