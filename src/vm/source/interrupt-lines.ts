import { plainByteOf } from '../registers.ts';
import { configuration, qmp, saveAll, switchover, switchoverAll, until, type VmSequence } from '../step.ts';
import { VmError } from '../vm-error.ts';

/** How long a line may take to be deasserted, in milliseconds. */
const PATIENCE_MS = 1_000;

/**
 * A line that is asserted when QEMU saves its interrupt controller stays so at the destination for ever, since QEMU does
 * not migrate the level of the device. QEMU deasserts a line when the guest accesses a BAR of the device. A memory BAR can
 * be read for the guest when it has stopped; for a device that has none, the guest has to do it, while it runs.
 */
export interface LinePlan {
  readonly device: number;
  readonly id: string;
  /** A byte of a memory BAR that may be read; null: the guest has to serve the line. */
  readonly byte: { readonly region: number; readonly address: bigint } | null;
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

/** While the guest runs: holds back the interrupts of devices whose lines only the guest can clear, and waits for that. */
export function* quietenRunning(plans: readonly LinePlan[]): VmSequence<void> {
  const waiting = plans.filter(({ byte }) => byte === null);
  yield* switchoverAll(waiting.map(({ device }) => ({ device, request: { do: 'WITHHOLD' } })));
  for (const plan of waiting) {
    if (!(yield* isServed(plan))) throw asserted(plan, 'the guest did not serve it meanwhile: try again');
  }
}

/** The VM has stopped: holds back what is left, and has QEMU deassert the lines by a read for the guest. */
export function* quietenStopped(plans: readonly LinePlan[]): VmSequence<void> {
  const readable = plans.flatMap(({ device, id, byte }) => (byte === null ? [] : [{ device, id, byte }]));
  const statuses = yield* switchoverAll(
    readable.map(({ device, byte: { region } }) => ({
      device,
      request: { do: 'SHIELD', region, offset: 0n },
    })),
  );
  const asserting = readable.filter((_, i) => statuses[i]?.outstanding === true);
  if (asserting.length === 0) return;
  // What was signalled before has been seen by QEMU when it has answered.
  yield* qmp('query-status');
  yield* saveAll(asserting.map(({ byte }) => ({ address: byte.address, length: 1 })));
  for (const plan of asserting) {
    if (!(yield* isServed(plan))) throw asserted(plan, 'QEMU did not deassert it: try again');
  }
}

function* isServed({ device }: LinePlan): VmSequence<boolean> {
  const served = yield* until(PATIENCE_MS, function* () {
    return (yield* switchover(device, { do: 'QUERY' })).outstanding ? null : true;
  });
  return served !== null;
}

function asserted({ id }: LinePlan, why: string): VmError {
  return new VmError('ERR_VM_INTX', `the interrupt line of ${id} is asserted, and would stay so: ${why}`, {
    device: id,
  });
}
