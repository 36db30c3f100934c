import type { SwitchoverRequest } from '../../client/index.ts';
import { type DeviceByte, plainByteOf } from '../registers.ts';
import { configuration, qmp, save, switchover, switchoverAll, type VmSequence } from '../step.ts';
import { all } from '../together.ts';
import { VmError } from '../vm-error.ts';
import { until } from '../waiting.ts';

/** How long a line may take to be deasserted, in milliseconds: by the guest, which has other things to do; by QEMU. */
const GUEST_MS = 100;
const QEMU_MS = 1_000;

/**
 * A line that is asserted when QEMU saves its interrupt controller stays so at the destination for ever, since QEMU does
 * not migrate the level of the device. QEMU deasserts a line when the guest accesses a BAR of the device. When the guest
 * has stopped, a BAR can be read for it: a memory BAR by a command that QEMU keeps stable (pmemsave), I/O ports only by one
 * for people (HMP `i`). So a device with I/O ports alone is first held back while the guest runs, and served by it.
 */
export interface LinePlan {
  readonly device: number;
  readonly id: string;
  /** A byte that may be read for the guest; null: there is none. */
  readonly byte: DeviceByte | null;
}

/** The devices that interrupt by INTx now. */
export function* planLines(ids: readonly string[]): VmSequence<readonly LinePlan[]> {
  const statuses = yield* switchoverAll(ids.map((_, device) => ({ device, request: { do: 'QUERY' } })));
  const plans: LinePlan[] = [];
  for (const [device, id] of ids.entries()) {
    if (statuses[device]?.intx !== true) continue;
    plans.push({ device, id, byte: plainByteOf(yield* configuration(device)) });
  }
  return plans;
}

/** While the guest runs: holds back the interrupts of devices with I/O ports alone, and gives it time to serve them. */
export function* quietenRunning(plans: readonly LinePlan[]): VmSequence<void> {
  const waiting = plans.filter(({ byte }) => byte?.space !== 'memory');
  yield* switchoverAll(waiting.map(({ device }) => ({ device, request: { do: 'WITHHOLD' } })));
  for (const plan of waiting) yield* isServed(plan, GUEST_MS);
}

/** The VM has stopped: holds back what is left, and has QEMU deassert the lines by reads for the guest. */
export function* quietenStopped(plans: readonly LinePlan[]): VmSequence<void> {
  const statuses = yield* switchoverAll(
    plans.map(({ device, byte }) => ({ device, request: shieldOf(byte) })),
  );
  const asserting = plans.filter((_, i) => statuses[i]?.outstanding === true);
  if (asserting.length === 0) return;
  // What was signalled before has been seen by QEMU when it has answered.
  yield* qmp('query-status');
  yield* all(asserting.map(({ byte }) => readForGuest(byte)));
  const served = yield* all(asserting.map((plan) => isServed(plan, QEMU_MS)));
  const stuck = asserting.find((_, i) => served[i] === false);
  if (stuck !== undefined) throw asserted(stuck);
}

function shieldOf(byte: DeviceByte | null): SwitchoverRequest {
  return byte === null ? { do: 'WITHHOLD' } : { do: 'SHIELD', region: byte.region, offset: 0n };
}

function* readForGuest(byte: DeviceByte | null): VmSequence<void> {
  if (byte?.space === 'memory') yield* save(byte.address, 1);
  else if (byte?.space === 'io')
    yield* qmp('human-monitor-command', { 'command-line': `i /b ${byte.address}` });
}

function* isServed({ device }: LinePlan, ms: number): VmSequence<boolean> {
  const served = yield* until(ms, function* () {
    return (yield* switchover(device, { do: 'QUERY' })).outstanding ? null : true;
  });
  return served !== null;
}

function asserted({ id }: LinePlan): VmError {
  const why = 'neither the guest nor QEMU has cleared it. Try again';
  return new VmError('ERR_VM_INTX', `the interrupt line of ${id} is asserted, and would stay so: ${why}`, {
    device: id,
  });
}
