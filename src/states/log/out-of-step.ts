import { ruleStateName, ruleStateText, sessionOfName } from '../rules/catalogue.ts';
import type { Judgement, RuleSet } from '../rules/rule-set.ts';
import type { Place } from './log.ts';

/** How many changes after a reset an explanation tells of. */
const TOLD = 4;

/**
 * Follows what somebody believes of a device who has not noticed its reset. A reset in the middle of a migration puts
 * the device into its first state without the one who migrates it having asked. With v1, where a change is made by
 * clearing and setting bits of what is read back, the mistaken one may then ask for something that it never meant
 * (libvfio-user's issue #853: a reset in pre-copy).
 */
export class OutOfStep {
  readonly #rules: RuleSet;
  #reset: { readonly at: Place; readonly before: number } | null = null;
  #believed = 0;
  #told: string[] = [];

  constructor(rules: RuleSet) {
    this.#rules = rules;
  }

  /** The device, which was in `before`, has been reset. */
  reset(before: number, at: Place): void {
    this.#reset = { at, before };
    this.#believed = before;
    this.#told = [];
  }

  /** The device goes on; returns what is remarkable about it. */
  move(from: number, to: number, judgement: Judgement, at: Place): string | null {
    if (this.#reset === null) return null;
    const { before, at: resetAt } = this.#reset;
    const meant = this.#meant(from, to);
    if (meant === to) this.#reset = null;
    else if (this.#told.length < TOLD) this.#told.push(this.#tell(from, to, meant, at));
    this.#believed = meant;
    if (sessionOfName(ruleStateName(this.#rules, before)) === null) return null;
    if (!judgement.steps.some((step) => step.opensSession)) return null;
    return (
      `The change at ${at} opens a new data session: the reset at ${resetAt} ended the one that was open in ` +
      `${this.#name(before)}, and what was read from that can not be continued.`
    );
  }

  /** Why a change fails that would not have failed without the reset; no sentences where it would have. */
  explain(from: number, to: number, at: Place): readonly string[] {
    if (this.#reset === null) return [];
    const { at: resetAt, before } = this.#reset;
    const meant = this.#meant(from, to);
    if (meant !== this.#believed && this.#rules.judge(this.#believed, meant).verdict === 'refused') return [];
    const last =
      meant === this.#believed
        ? `${at} asks for ${this.#name(to)}, in which it would have been already`
        : this.#tell(from, to, meant, at);
    return [
      `The reset at ${resetAt} took the device out of ${this.#name(before)}. Who has not noticed means ` +
        `something else with what follows: ${[...this.#told, last].join('; ')}.`,
      'Device and VMM are out of step: after a reset a VMM has to read the state again and begin anew.',
    ];
  }

  /** v1: the same bits cleared and set in the state that is believed; v2 names the state that it wants. */
  #meant(from: number, to: number): number {
    if (this.#rules.interface === 'v2') return to;
    return (this.#believed & ~(from & ~to)) | (to & ~from);
  }

  #tell(from: number, to: number, meant: number, at: Place): string {
    const [now, believed] = [this.#name(from), this.#name(this.#believed)];
    return `${at} makes ${this.#name(to)} of ${now}, but would have made ${this.#name(meant)} of ${believed}`;
  }

  #name(code: number): string {
    return ruleStateText(this.#rules, code);
  }
}
