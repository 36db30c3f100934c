import type { DmaMode } from '../memory/index.ts';
import type { Agreement } from '../protocol/index.ts';
import type { Role } from '../server/index.ts';
import { damagedRecord } from './handover-error.ts';

/** The roles by their number. */
const ROLES: readonly Role[] = ['main', 'control'];

/** The modes of maps by their number. */
export const MODES: readonly DmaMode[] = ['mmap', 'file', 'message'];

/** What VERSION may agree on besides numbers; the bit of each is its place here. */
const AGREED_FEATURES = [
  'twinSocket',
  'writeMultiple',
  'precopyInfo',
  'inspect',
  'claim',
  'reconnection',
  'handover',
  'switchover',
] as const;

type Features = Pick<Agreement, (typeof AGREED_FEATURES)[number]>;

/** The features of an agreement as bits. */
export function agreedBits(agreed: Features): number {
  return AGREED_FEATURES.reduce((bits, name, i) => bits | (agreed[name] ? 1 << i : 0), 0);
}

/** Bits as the features of an agreement. Throws HandoverError for bits that are unknown here. */
export function agreedFeatures(bits: number): Features {
  if (bits >= 2 ** AGREED_FEATURES.length)
    throw damagedRecord('knows more of VERSION than this version does');
  const has = (name: (typeof AGREED_FEATURES)[number]): boolean =>
    (bits & (1 << AGREED_FEATURES.indexOf(name))) !== 0;
  return {
    twinSocket: has('twinSocket'),
    writeMultiple: has('writeMultiple'),
    precopyInfo: has('precopyInfo'),
    inspect: has('inspect'),
    claim: has('claim'),
    reconnection: has('reconnection'),
    handover: has('handover'),
    switchover: has('switchover'),
  };
}

/** The number of a role. */
export function roleNumber(role: Role): number {
  return ROLES.indexOf(role);
}

/** The role of a number. */
export function roleOf(number: number): Role {
  return oneOf(ROLES, number, 'role');
}

/** The mode of a number. */
export function modeOf(number: number): DmaMode {
  return oneOf(MODES, number, 'mode');
}

function oneOf<T>(all: readonly T[], number: number, what: string): T {
  const found = all[number];
  if (found === undefined) throw damagedRecord(`has a ${what} ${number}`);
  return found;
}
