import { type Rule, type RuleDeclaration, rule } from '../rule.ts';
import type { Wire } from '../wire/wire.ts';
import { refused } from './ask.ts';
import type { ServerWorld } from './world.ts';

/** A rule for servers. */
export type ServerRule = Rule<ServerWorld>;

/** Declares a rule for servers. */
export const serverRule = (declaration: RuleDeclaration<ServerWorld>): ServerRule => rule(declaration);

/** A message that has to be refused: what it is, as the beginning of a sentence, its command and payload. */
export type Refusal = readonly [what: string, command: number, payload: Uint8Array];

/** Sends each message and demands that it is refused, with one of these errno values if there are any. */
export async function refuseEach(
  wire: Wire,
  cases: readonly Refusal[],
  errnos: readonly number[] = [],
): Promise<void> {
  for (const [what, command, payload] of cases) refused(await wire.request(command, payload), what, errnos);
}
