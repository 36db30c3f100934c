import { MigrationState } from '../../states/index.ts';
import { type RunState, runState } from '../run-state.ts';
import type { VmSequence } from '../step.ts';
import { both } from '../together.ts';
import { readOutgoing } from './outgoing.ts';

const { RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STOP_COPY, STOP } = MigrationState;

/** In which of QEMU's statuses a VM may run that is sent, and in which it stands still. */
const SENDING_RUNNING = ['setup', 'active'];
const SENDING = [...SENDING_RUNNING, 'pre-switchover', 'device', 'completed'];

/**
 * The migration state of a VM that is moved away, as QEMU has it. `meant` is where this process has put it; null: another
 * process has, and what it meant follows from what is found.
 */
export function* sourceState(meant: MigrationState | null): VmSequence<MigrationState> {
  const [found, { status }] = yield* both(runState(), readOutgoing());
  if (meant !== null && agrees(meant, found, status)) return meant;
  if (found === 'running') return SENDING_RUNNING.includes(status) ? PRE_COPY : RUNNING;
  return SENDING.includes(status) ? STOP_COPY : STOP;
}

/** QEMU may pause by itself, when there is nothing left to send; the VM is in pre-copy as long as it is not told to stop. */
function agrees(meant: MigrationState, found: RunState, status: string): boolean {
  switch (meant) {
    case RUNNING:
      return found === 'running';
    case PRE_COPY:
      return SENDING.includes(status);
    case PRE_COPY_P2P:
    case STOP_COPY:
      return found === 'stopped' && SENDING.includes(status);
    case RUNNING_P2P:
      return true;
    case STOP:
      return found === 'stopped';
    default:
      return false;
  }
}
