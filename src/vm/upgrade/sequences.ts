import { MigrationState } from '../../states/index.ts';
import { runVm } from '../destination/incoming.ts';
import { setUpRegisters } from '../destination/replay.ts';
import { textIn } from '../json.ts';
import { type Ecam, ecamAddress } from '../machine/ecam.ts';
import { readCapabilities } from '../machine/machine.ts';
import type { VmRecord } from '../record.ts';
import { messageEnableOf, usesIntx } from '../registers.ts';
import { type ConfigurationView, readClientState } from '../source/client-state.ts';
import { type LinePlan, planLines, quietenRunning, quietenStopped } from '../source/interrupt-lines.ts';
import { readOutgoing } from '../source/outgoing.ts';
import { carryOut, qmp, readAll, reconnections, type VmSequence, writeAll } from '../step.ts';
import { VmError } from '../vm-error.ts';
import { untilMigration } from '../waiting.ts';
import type { Before, Policy, UpgradeChannels, UpgradeSettings } from './plan.ts';

const { RUNNING, STOP } = MigrationState;

/** With the way back QEMU has not completed before the other one has loaded everything: it can do it again otherwise. */
const CAPABILITIES = ['events', 'return-path'];

/** How QEMU migrates now. */
export function* readSettings(): VmSequence<UpgradeSettings> {
  const mode = textIn(yield* qmp('query-migrate-parameters'), 'mode') ?? 'normal';
  const on = yield* readCapabilities();
  const capabilities = CAPABILITIES.map((capability) => ({ capability, state: on.includes(capability) }));
  return { mode, capabilities };
}

/** Has servers keep their states, and QEMU hand its memory over in its next migration. */
export function* prepareUpgrade(ids: readonly string[]): VmSequence<void> {
  yield* reconnections(ids.map((_, device) => ({ device, choice: 'keep' })));
  yield* qmp('migrate-set-capabilities', {
    capabilities: CAPABILITIES.map((capability) => ({ capability, state: true })),
  });
  yield* qmp('migrate-set-parameters', { mode: 'cpr-transfer' });
}

/** QEMU migrates as it did before. */
export function* restoreSettings({ mode, capabilities }: UpgradeSettings): VmSequence<void> {
  yield* qmp('migrate-set-capabilities', { capabilities });
  yield* qmp('migrate-set-parameters', { mode });
}

/** Has interrupts served that would be stuck; the guest runs. Devices that a QEMU has been cut off from have none. */
export function* quietenLines(ids: readonly string[]): VmSequence<readonly LinePlan[]> {
  const lines = yield* planLines(ids);
  yield* quietenRunning(lines);
  return lines;
}

/** Stops the VM, then its devices; what QEMU alone keeps of them. */
export function* standStill(
  ids: readonly string[],
  ecam: Ecam,
  views: readonly ConfigurationView[],
  lines: readonly LinePlan[],
): VmSequence<VmRecord> {
  yield* qmp('stop');
  yield* quietenStopped(lines);
  const record = yield* readClientState(ecam, ids, views);
  yield* carryOut({ do: 'setState', devices: [...ids.keys()], state: STOP });
  // One round trip through QEMU's main loop: an eventfd that was signalled before has been seen by now.
  yield* qmp('query-status');
  return record;
}

/**
 * Has QEMU hand over its memory and its state. From now on the other one takes the devices: one whose server had ended would
 * keep it from coming up when it has taken others.
 */
export function* handOver(ids: readonly string[], { main, cpr }: UpgradeChannels): VmSequence<void> {
  yield* reconnections(ids.map((_, device) => ({ device, choice: null })));
  const unix = (path: string): object => ({ transport: 'socket', type: 'unix', path });
  const channels = [
    { 'channel-type': 'main', addr: unix(main) },
    { 'channel-type': 'cpr', addr: unix(cpr) },
  ];
  yield* qmp('migrate', { channels });
}

/** @throws VmError ERR_VM_MIGRATION with QEMU's reason when it has given up */
export function* requireNotFailed(): VmSequence<void> {
  const { status, reason } = yield* readOutgoing();
  if (status !== 'failed' && status !== 'cancelled') return;
  throw new VmError(
    'ERR_VM_MIGRATION',
    `QEMU's migration is ${status}${reason === null ? '' : `: ${reason}`}`,
  );
}

/** What QEMU has reset becomes what it was, and INTx is connected, which QEMU does only after MSI-X or MSI was on. */
export function* setUpUpgraded(record: VmRecord): VmSequence<void> {
  yield* setUpRegisters(record);
  for (const device of record.devices) {
    const enable = messageEnableOf(device.config);
    if (!usesIntx(device.config) || enable === null) continue;
    const address = ecamAddress(record.ecam, device) + BigInt(enable.offset);
    const [off = new Uint8Array(2)] = yield* readAll([{ address, length: 2 }]);
    const on = new Uint8Array(2);
    const value = (off[0] ?? 0) | ((off[1] ?? 0) << 8) | enable.bit;
    new DataView(on.buffer).setUint16(0, value, true);
    yield* writeAll([
      { address, bytes: on },
      { address, bytes: off },
    ]);
  }
  yield* carryOut({ do: 'detach' });
}

/** Has the VM and its devices run again, with everything as it was set before. False: another QEMU has taken a device. */
export function* goBack({ settings, policies }: Before, waits: Waits): VmSequence<boolean> {
  yield* untilEnded(waits);
  const devices = [...policies.keys()];
  const statuses = yield* reconnections(devices.map((device) => ({ device, choice: null })));
  if (statuses.some(({ kept }) => kept !== null)) return false;
  yield* restoreSettings(settings);
  yield* carryOut({ do: 'setState', devices, state: RUNNING });
  yield* runVm();
  yield* restorePolicies(policies);
  return true;
}

/** How long something may take, in milliseconds. */
export interface Waits {
  /** QEMU's migration, to end by itself. */
  readonly patienceMs: number;
  /** To be cancelled. */
  readonly timeoutMs: number;
}

function* untilEnded({ patienceMs, timeoutMs }: Waits): VmSequence<void> {
  if ((yield* hasEnded(patienceMs)) !== null) return;
  yield* qmp('migrate_cancel');
  if ((yield* hasEnded(timeoutMs)) === null)
    throw new VmError('ERR_VM_TIMEOUT', `QEMU did not cancel its migration in ${timeoutMs} ms`);
}

const UNDER_WAY = ['setup', 'active', 'pre-switchover', 'device', 'cancelling'];

function hasEnded(timeoutMs: number): VmSequence<true | null> {
  return untilMigration(timeoutMs, function* () {
    return UNDER_WAY.includes((yield* readOutgoing()).status) ? null : true;
  });
}

/** Has the devices run, and deliver what waited; then the VM. */
export function* runUpgraded({ policies }: Pick<Before, 'policies'>): VmSequence<void> {
  yield* carryOut({ do: 'setState', devices: [...policies.keys()], state: RUNNING });
  yield* runVm();
}

/** What becomes of the states of devices when their VMM comes back is again what it was. */
export function* restorePolicies(policies: readonly Policy[]): VmSequence<void> {
  yield* reconnections(policies.map((choice, device) => ({ device, choice })));
}
