import type { MigrationEnd } from './migration-end.ts';
import { MigrationError } from './migration-error.ts';
import type { ReceiverReport } from './run-receiver.ts';
import { NOT_HEARD } from './sender/sender-aftermath.ts';
import { StepError } from './step-error.ts';
import { together } from './timeline.ts';
import { asTyped } from './words.ts';

/** One error for a migration of which both sides are known. What the sender says of ownership counts. */
export function combined(
  sent: unknown,
  received: PromiseSettledResult<ReceiverReport>,
  names: { readonly destination: readonly string[] },
): unknown {
  if (!(sent instanceof MigrationError)) return sent;
  const there =
    received.status === 'rejected' && received.reason instanceof MigrationError ? received.reason : null;
  const told = received.status === 'fulfilled' ? received.value.timeline : (there?.timeline ?? null);
  const timeline = sent.timeline !== null && told !== null ? together(sent.timeline, told) : null;
  if (there === null) return timeline === null ? sent : sent.withTimeline(timeline);
  const { owner, phase, sourceStates } = sent;
  const unheard = sent.outcome.includes(NOT_HEARD);
  const steps =
    there.owner === 'in doubt'
      ? names.destination.map((name) => `ferry state ${asTyped(name)} --reset`)
      : there.nextSteps;
  return new MigrationError(sent.code, sent.reason, {
    ...{ owner, phase, sourceStates },
    destinationStates: there.destinationStates,
    outcome: unheard ? sent.outcome.replace(NOT_HEARD, there.outcome) : sent.outcome,
    nextSteps: owner === 'source' && unheard ? [...sent.nextSteps, ...steps] : sent.nextSteps,
    ...(timeline === null ? {} : { timeline }),
  });
}

/** Refuses a device that is to move to itself; null when no name occurs on both sides. */
export function refusedAsSame(
  from: readonly MigrationEnd[],
  to: readonly MigrationEnd[],
): MigrationError | null {
  const twice = from.find((end) => to.some((other) => other === end || other.name === end.name));
  if (twice === undefined) return null;
  const message = `${twice.name} can't be both the source and the destination`;
  return new MigrationError(
    'ERR_MIGRATION_REFUSED',
    new StepError('ERR_STEP_REFUSED', 'destination', message),
    {
      owner: 'source',
      phase: 'check',
      sourceStates: [],
      destinationStates: [],
      outcome: 'Nothing was changed',
      nextSteps: [],
    },
  );
}
