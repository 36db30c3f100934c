import { member, textIn } from '../json.ts';
import { qmp, type VmSequence } from '../step.ts';
import { both } from '../together.ts';
import { VmError } from '../vm-error.ts';
import { untilMigration } from '../waiting.ts';

/** Has a QEMU that was started with `-incoming defer` wait for the VM, which is not to run by itself when it is there. */
export function* startIncoming(path: string): VmSequence<void> {
  // While it waits, this only says that the VM stays stopped, also where -S is missing (system/vl.c, autostart).
  yield* qmp('stop');
  yield* qmp('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
  yield* qmp('migrate-incoming', { uri: `unix:${path}`, 'exit-on-error': false });
}

/** Waits until the VM is there, and stopped. */
export function* awaitLoaded(timeoutMs: number): VmSequence<void> {
  const loaded = yield* untilMigration(timeoutMs, function* () {
    const [answer, vm] = yield* both(qmp('query-migrate'), qmp('query-status'));
    const status = textIn(answer, 'status') ?? 'none';
    if (status === 'failed' || status === 'cancelled') {
      const reason = textIn(answer, 'error-desc') ?? 'it gave no reason';
      throw new VmError('ERR_VM_MIGRATION', `QEMU could not take the VM: ${reason}`);
    }
    if (status !== 'completed') return null;
    if (member(vm, 'running') === true)
      throw new VmError('ERR_VM_MIGRATION', 'the VM runs before it was told to');
    return member(vm, 'status') === 'inmigrate' ? null : true;
  });
  if (loaded === null) throw new VmError('ERR_VM_TIMEOUT', `QEMU did not load the VM in ${timeoutMs} ms`);
}

/** Has the VM run; whether it does has to be looked at. One that runs already goes on. */
export function* letRun(): VmSequence<void> {
  yield* qmp('cont');
}

/** Has the VM run, and makes sure that it does. */
export function* runVm(): VmSequence<void> {
  yield* letRun();
  if (member(yield* qmp('query-status'), 'running') !== true)
    throw new VmError('ERR_VM_COMMAND', 'the VM does not run although it was told to');
}
