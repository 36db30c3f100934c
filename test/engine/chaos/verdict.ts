import { MigrationError, type Owner, type Recovery } from '../../../src/engine/index.ts';
import { STEP_ERRORS } from '../../../src/engine/step-error.ts';
import type { JournalRole } from '../../../src/journal/index.ts';
import type { Stage } from './stage.ts';

const ROLES: readonly JournalRole[] = ['sender', 'receiver'];

/** What was said of ownership, in order, and by whom. */
export interface Statement {
  readonly by: string;
  readonly owner: Owner;
  readonly outcome: string;
  readonly nextSteps: readonly string[];
}

/**
 * Recovers as an operator would: each side twice, since what one decides may be what the other waits for. Before the
 * second time, servers that had been killed are started again.
 */
export async function recoverAll(stage: Stage): Promise<readonly Statement[]> {
  const said: Statement[] = [];
  for (let round = 1; round <= 2; round += 1) {
    if (round === 2) stage.restartDevices();
    for (const role of ROLES) {
      const recovery = await stage.recover(role);
      if (recovery !== null) said.push(statement(`recovery ${round} of the ${role}`, recovery));
    }
  }
  return said;
}

function statement(by: string, { owner, outcome, nextSteps }: Recovery): Statement {
  return { by, owner, outcome, nextSteps };
}

/** What the roles said when they failed. */
export function errorsOf(stage: Stage): readonly Statement[] {
  return ROLES.flatMap((role) => {
    const { ending } = stage.processes[role];
    if (ending?.is !== 'failed') return [];
    const { error } = ending;
    if (!(error instanceof MigrationError)) throw error;
    if (error.reason.code in STEP_ERRORS === false) throw error;
    return [{ by: role, owner: error.owner, outcome: error.message, nextSteps: error.nextSteps }];
  });
}

/** Where the guest runs: whole, on exactly one side; in parts; or nowhere. */
export function whereabouts(stage: Stage): 'source' | 'destination' | 'nowhere' | 'torn' {
  const here = stage.worlds.filter(({ source }) => source.runsGuest).length;
  const there = stage.worlds.filter(({ destination }) => destination.runsGuest).length;
  if (here === 0 && there === 0) return 'nowhere';
  if (here === stage.worlds.length && there === 0) return 'source';
  return there === stage.worlds.length && here === 0 ? 'destination' : 'torn';
}

/** What must hold whatever has happened. Empty when it does. */
export function complaints(
  stage: Stage,
  errors: readonly Statement[],
  recoveries: readonly Statement[],
): string[] {
  const found = stage.violation === null ? [] : [stage.violation];
  const where = whereabouts(stage);
  const last = lastWord(recoveries);
  if (where === 'source' && last === 'destination') found.push('said destination, runs at the source');
  if (where === 'destination' && last === 'source') found.push('said source, runs at the destination');
  const owners = new Set(recoveries.slice(-2).map(({ owner }) => owner));
  if (owners.has('source') && owners.has('destination')) found.push('the two sides name different owners');
  for (const { by, owner, nextSteps } of [...errors, ...recoveries]) {
    if (owner === 'in doubt' && nextSteps.length === 0) found.push(`${by}: in doubt without a next step`);
  }
  return found;
}

/** Who owns the devices according to what was said last. */
export function lastWord(recoveries: readonly Statement[]): Owner | null {
  return recoveries.at(-1)?.owner ?? null;
}

/** Somebody said that state is lost, or may be. */
export function saysLost(said: readonly Statement[]): boolean {
  return said.some(({ outcome }) => outcome.includes('lost'));
}
