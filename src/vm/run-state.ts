import { member, textIn } from './json.ts';
import { qmp, type VmSequence } from './step.ts';

/** What matters of RunState (qapi/run-state.json): a VM that waits for its memory does not run either. */
export type RunState = 'running' | 'waiting' | 'stopped';

/** Whether the VM runs. */
export function* runState(): VmSequence<RunState> {
  const answer = yield* qmp('query-status');
  if (member(answer, 'running') === true) return 'running';
  return textIn(answer, 'status') === 'inmigrate' ? 'waiting' : 'stopped';
}
