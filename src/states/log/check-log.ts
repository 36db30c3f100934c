import { ruleStateText } from '../rules/catalogue.ts';
import type { Judgement, RuleSet } from '../rules/rule-set.ts';
import { V1_STATE_MASK } from '../v1/device-state.ts';
import type { LogEvent, LogSequence, Place } from './log.ts';
import { type LogState, stateCode } from './log-state.ts';
import { OutOfStep } from './out-of-step.ts';

/** Where a sequence leaves a rule set. */
export interface Finding {
  /** Where in the log; null for the state with which it begins. */
  readonly at: Place | null;
  /** The states by their names, as `STOP (000)` where the log has bits. */
  readonly from: string;
  readonly to: string;
  readonly reason: string;
  /** What else is known of this change. */
  readonly remarks: readonly string[];
}

/** What one rule set says of one sequence. */
export interface SequenceVerdict {
  readonly rules: RuleSet;
  /** `unlisted`: nothing is forbidden, but not everything is on the list. */
  readonly verdict: 'accepted' | 'unlisted' | 'refused';
  /** The first change that is refused; nothing after it is looked at. */
  readonly refusal: Finding | null;
  /** The first change that is not listed. */
  readonly unlisted: Finding | null;
  /** What is remarkable though it is not forbidden, and explanations, in sentences. */
  readonly notes: readonly string[];
}

/** Whether a sequence obeys a rule set, and where it first does not. */
export function checkSequence(rules: RuleSet, sequence: LogSequence): SequenceVerdict {
  const check = new Check(rules);
  if (check.begin(sequence.start)) {
    for (const event of sequence.events) if (!check.take(event)) break;
  }
  return check.verdict();
}

class Check {
  readonly #rules: RuleSet;
  readonly #outOfStep: OutOfStep;
  readonly #notes: string[] = [];
  #now: number;
  #refusal: Finding | null = null;
  #unlisted: Finding | null = null;

  constructor(rules: RuleSet) {
    this.#rules = rules;
    this.#now = rules.resetState;
    this.#outOfStep = new OutOfStep(rules);
  }

  /** False when the sequence begins where the rules know no state. */
  begin(start: LogState | null): boolean {
    if (start === null) return true;
    const code = this.#codeOf(start);
    if (code === null) return this.#refuse(null, start.text, start.text, `there is no state ${start.text}`);
    this.#now = code;
    return true;
  }

  /** False when the event breaks the rules. */
  take(event: LogEvent): boolean {
    if (event.kind === 'reset') {
      this.#outOfStep.reset(this.#now, event.at);
      this.#now = this.#rules.resetState;
      return true;
    }
    const to = stateCode(this.#rules, event.to);
    const judgement = to === null ? null : this.#rules.judge(this.#now, to);
    if (event.kind === 'failure') return this.#takeFailure(event, to, judgement);
    if (to !== null && judgement !== null) return this.#takeChange(to, judgement, event.at);
    return this.#refuse(event.at, this.#name(), event.to.text, `there is no state ${event.to.text}`);
  }

  verdict(): SequenceVerdict {
    const [refusal, unlisted] = [this.#refusal, this.#unlisted];
    const verdict = refusal !== null ? 'refused' : unlisted !== null ? 'unlisted' : 'accepted';
    return { rules: this.#rules, verdict, refusal, unlisted, notes: this.#notes };
  }

  #takeChange(to: number, judgement: Judgement, at: Place): boolean {
    const { verdict, reason, remarks } = judgement;
    if (verdict !== 'allowed') this.#explain(at, to);
    if (verdict === 'refused') {
      return this.#refuse(at, this.#name(), this.#text(to), reason ?? 'refused', remarks);
    }
    if (verdict === 'unlisted' && this.#unlisted === null) {
      const names = { from: this.#name(), to: this.#text(to) };
      this.#unlisted = { at, ...names, reason: reason ?? 'not listed', remarks };
    }
    const note = this.#outOfStep.move(this.#now, this.#plain(to), judgement, at);
    if (note !== null) this.#notes.push(note);
    this.#now = this.#plain(to);
    return true;
  }

  /** A device may refuse what the rules refuse, and fail at anything else; what it then reports is ruled. */
  #takeFailure(
    event: LogEvent & { readonly kind: 'failure' },
    to: number | null,
    judgement: Judgement | null,
  ): boolean {
    if (judgement === null || to === null || judgement.verdict === 'refused') {
      const reason = judgement?.reason ?? `there is no state ${event.to.text}`;
      this.#notes.push(`At ${event.at} the change failed, as these rules demand: ${reason}.`);
      if (to !== null) this.#explain(event.at, to);
    }
    if (event.now === null) return true;
    const now = this.#codeOf(event.now);
    const possible = this.#afterFailure(judgement);
    if (now === null || !possible.includes(now)) {
      const names = possible.map((code) => this.#text(code)).join(', ');
      return this.#refuse(
        event.at,
        this.#name(),
        event.now.text,
        `after a failure the device is in one of: ${names}`,
      );
    }
    this.#now = now;
    return true;
  }

  /** v1: the old state, or ERROR. v2: also any state on the way ("the user may see any step along the path"). */
  #afterFailure(judgement: Judgement | null): readonly number[] {
    const error = this.#rules.states.find(({ name }) => name === 'ERROR')?.code;
    const onTheWay = this.#rules.interface === 'v2' ? (judgement?.path.slice(0, -1) ?? []) : [];
    return [this.#now, ...onTheWay, ...(error === undefined ? [] : [error])];
  }

  #explain(at: Place, to: number): void {
    this.#notes.push(...this.#outOfStep.explain(this.#now, to, at));
  }

  #codeOf(state: LogState): number | null {
    const code = stateCode(this.#rules, state);
    if (code === null) return null;
    const plain = this.#plain(code);
    return this.#rules.states.some((known) => known.code === plain && known.valid) ? plain : null;
  }

  /** The state without v1's reserved bits, which are read as 0 whatever was written. */
  #plain(code: number): number {
    return this.#rules.interface === 'v1' ? code & V1_STATE_MASK : code;
  }

  #name(): string {
    return this.#text(this.#now);
  }

  #text(code: number): string {
    return ruleStateText(this.#rules, code);
  }

  #refuse(
    at: Place | null,
    from: string,
    to: string,
    reason: string,
    remarks: readonly string[] = [],
  ): false {
    this.#refusal = { at, from, to, reason, remarks };
    return false;
  }
}
