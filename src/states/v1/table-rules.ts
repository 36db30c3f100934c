import { type Judgement, type RuleSet, type RuleState, refused } from '../rules/rule-set.ts';
import {
  parseV1State,
  V1_RESET_STATE,
  V1_STATE_MASK,
  V1State,
  v1Name,
  v1ReservedBits,
} from './device-state.ts';
import { changeRemarks } from './remarks.ts';
import { v1Steps } from './steps.ts';
import type { PublishedTable } from './tables.ts';

/** All eight combinations of the three bits, as v1 names them. */
export function v1States(name110: 'ERROR' | 'invalid 110' = 'ERROR'): readonly RuleState[] {
  return Array.from({ length: V1_STATE_MASK + 1 }, (_, code) => ({
    code,
    name: code === V1State.ERROR ? name110 : v1Name(code),
    valid: parseV1State(code) !== null && (code !== V1State.ERROR || name110 === 'ERROR'),
  }));
}

/** The rule set that a published list of changes makes. */
export function tableRules(table: PublishedTable): RuleSet {
  const states = v1States(table.name110);
  return {
    id: table.id,
    title: table.title,
    source: table.source,
    interface: 'v1',
    states,
    resetState: V1_RESET_STATE,
    judge: (from, to) => judge(table, from, to),
  };
}

function judge(table: PublishedTable, from: number, to: number): Judgement {
  const remarks = changeRemarks(from, to, table.remarks);
  if (v1ReservedBits(from | to) !== 0 && table.reservedBits !== 'ignored') {
    return ofReservedBits(table.reservedBits, remarks);
  }
  const before = from & V1_STATE_MASK;
  const after = to & V1_STATE_MASK;
  const impossible = impossibility(table, before, after);
  const listed = table.changes.some(([state, next]) => state === before && next.includes(after));
  if (listed) return onTheWay('allowed', before, after, null, remarks);
  if (impossible !== null) return refused(impossible, remarks);
  if (table.others === 'refused') return refused('it is not in the table', remarks);
  return onTheWay('unlisted', before, after, 'it is not on the list, which is open', remarks);
}

function onTheWay(
  verdict: 'allowed' | 'unlisted',
  from: number,
  to: number,
  reason: string | null,
  remarks: readonly string[],
): Judgement {
  const path = from === to ? [] : [to];
  return { verdict, path, steps: v1Steps(from, path), reason, remarks };
}

function ofReservedBits(rule: 'refused' | 'undefined', remarks: readonly string[]): Judgement {
  if (rule === 'refused') return refused('bits 3 to 31 are beyond the table', remarks);
  const reason = 'bits 3 to 31 are shifted out of the table: what happens then is undefined in C';
  return { verdict: 'unlisted', path: [], steps: [], reason, remarks };
}

/** Why no list could have this change; null when one could. */
function impossibility(table: PublishedTable, from: number, to: number): string | null {
  if (from === V1State.ERROR && table.name110 === 'ERROR') return 'only a reset leaves ERROR';
  if (to === V1State.ERROR && table.name110 === 'ERROR') return 'ERROR is entered only by a failure';
  for (const { code, name, valid } of v1States(table.name110)) {
    if (!valid && (code === from || code === to)) return `${name} is no state`;
  }
  return null;
}
