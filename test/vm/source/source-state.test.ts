import { expect, it } from 'vitest';
import { MigrationState } from '../../../src/states/index.ts';
import { sourceState } from '../../../src/vm/source/source-state.ts';
import { FakeVm } from '../fake-vm.ts';

const { RUNNING, RUNNING_P2P, PRE_COPY, PRE_COPY_P2P, STOP_COPY, STOP } = MigrationState;

it.each([
  // What this process meant, how the VM is, how its migration is, what follows.
  [RUNNING, 'running', 'none', RUNNING],
  [RUNNING, 'running', 'completed', RUNNING],
  [RUNNING, 'paused', 'none', STOP],
  [PRE_COPY, 'running', 'active', PRE_COPY],
  [PRE_COPY, 'paused', 'pre-switchover', PRE_COPY],
  [PRE_COPY, 'running', 'failed', RUNNING],
  [PRE_COPY_P2P, 'paused', 'pre-switchover', PRE_COPY_P2P],
  [PRE_COPY_P2P, 'running', 'active', PRE_COPY],
  [PRE_COPY_P2P, 'paused', 'active', PRE_COPY_P2P],
  [PRE_COPY_P2P, 'paused', 'failed', STOP],
  [STOP_COPY, 'paused', 'active', STOP_COPY],
  [STOP_COPY, 'finish-migrate', 'device', STOP_COPY],
  [STOP_COPY, 'postmigrate', 'completed', STOP_COPY],
  [STOP_COPY, 'running', 'completed', RUNNING],
  [RUNNING_P2P, 'paused', 'pre-switchover', RUNNING_P2P],
  [STOP, 'postmigrate', 'completed', STOP],
  [STOP, 'running', 'completed', RUNNING],
  [null, 'running', 'none', RUNNING],
  [null, 'running', 'completed', RUNNING],
  [null, 'running', 'active', PRE_COPY],
  [null, 'paused', 'active', STOP_COPY],
  [null, 'paused', 'pre-switchover', STOP_COPY],
  [null, 'paused', 'failed', STOP],
  [null, 'postmigrate', 'completed', STOP_COPY],
  [null, 'paused', 'none', STOP],
] as const)('meant %s, found %s and %s: %s', (meant, status, migration, state) => {
  const vm = new FakeVm({
    'query-status': { status, running: status === 'running' },
    'query-migrate': migration === 'none' ? {} : { status: migration },
  });
  expect(vm.run(sourceState(meant))).toBe(state);
});
