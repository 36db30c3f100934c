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

const { RUNNING, STOP } = MigrationState;

/** How QEMU migrates, as far as an upgrade changes it. */
export interface UpgradeSettings {
  readonly mode: string;
  readonly capabilities: readonly object[];
}

/** With the way back QEMU has not completed before the other one has loaded everything: it can do it again otherwise. */
const CAPABILITIES = ['events', 'return-path'];

/** Has servers keep their states, and QEMU hand its memory over in its next migration. Returns how QEMU was set before. */
export function* prepareUpgrade(ids: readonly string[]): VmSequence<UpgradeSettings> {
  const mode = textIn(yield* qmp('query-migrate-parameters'), 'mode') ?? 'normal';
  const on = yield* readCapabilities();
  yield* reconnections(ids.map((_, device) => ({ device, choice: 'keep' })));
  yield* qmp('migrate-set-capabilities', {
    capabilities: CAPABILITIES.map((capability) => ({ capability, state: true })),
  });
  yield* qmp('migrate-set-parameters', { mode: 'cpr-transfer' });
  const capabilities = CAPABILITIES.map((capability) => ({ capability, state: on.includes(capability) }));
  return { mode, capabilities };
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

/** Where the other QEMU listens. */
export interface UpgradeChannels {
  readonly main: string;
  /** Of the type cpr: over it the other one gets the memory, before it has a monitor. */
  readonly cpr: string;
}

/** Has QEMU hand over its memory and its state. From now on the other one takes the devices. */
export function* handOver({ main, cpr }: UpgradeChannels): VmSequence<void> {
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

/** Has the VM and its devices run again, with QEMU as it was set before. False: another one has taken a device. */
export function* goBack(
  ids: readonly string[],
  settings: UpgradeSettings,
  timeoutMs: number,
): VmSequence<boolean> {
  yield* untilEnded(timeoutMs);
  yield* restoreSettings(settings);
  const statuses = yield* reconnections(ids.map((_, device) => ({ device, choice: null })));
  if (statuses.some(({ kept }) => kept !== null)) return false;
  yield* carryOut({ do: 'setState', devices: [...ids.keys()], state: RUNNING });
  yield* runVm();
  return true;
}

function* untilEnded(timeoutMs: number): VmSequence<void> {
  const underWay = ['setup', 'active', 'pre-switchover', 'device', 'cancelling'];
  if (underWay.includes((yield* readOutgoing()).status)) yield* qmp('migrate_cancel');
  const ended = yield* untilMigration(timeoutMs, function* () {
    return underWay.includes((yield* readOutgoing()).status) ? null : true;
  });
  if (ended === null)
    throw new VmError('ERR_VM_TIMEOUT', `QEMU did not cancel its migration in ${timeoutMs} ms`);
}

/** Has the devices run, and deliver what waited; then the VM. */
export function* runUpgraded(ids: readonly string[]): VmSequence<void> {
  yield* carryOut({ do: 'setState', devices: [...ids.keys()], state: RUNNING });
}

/** What becomes of the states of devices when their VMM comes back is again what it was. */
export function* restorePolicies(policies: readonly ('keep' | 'reset')[]): VmSequence<void> {
  yield* reconnections(policies.map((choice, device) => ({ device, choice })));
}
