import type { Rule } from '../finding.ts';
import { type DeviceFacts, deviceOf, type SocketFacts } from '../socket-facts.ts';

/** A rule about a device whose server has answered. */
export interface DeviceRule extends Omit<Rule<SocketFacts>, 'finding' | 'next'> {
  readonly finding: (device: DeviceFacts, facts: SocketFacts) => string | null;
  readonly next: (facts: SocketFacts) => readonly string[];
}

/** The same for facts of a socket: it does not apply while the server has not answered. */
export function deviceRule(rule: DeviceRule): Rule<SocketFacts> {
  return {
    ...rule,
    finding: (facts) => {
      const device = deviceOf(facts);
      return device === null ? null : rule.finding(device, facts);
    },
  };
}

/** Sentences as one; null when there are none. */
export function joined(sentences: readonly string[]): string | null {
  return sentences.length === 0 ? null : sentences.join('; ');
}
