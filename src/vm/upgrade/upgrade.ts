import { Journals, MemoryJournalFiles } from '../../journal/index.ts';
import { QmpClient } from '../qmp/qmp-client.ts';
import { leaveVm, reachVm } from '../reach.ts';
import { vmName } from '../side.ts';
import { VmError } from '../vm-error.ts';
import { UPGRADE_TIMEOUT_MS, type UpgradeOptions, type UpgradeReport } from './options.ts';
import { Passage } from './passage.ts';
import { settle } from './settle.ts';
import { abort, type BegunUpgrade, positionIn, unfinishedUpgrade } from './upgrade-journal.ts';

/**
 * Passes a running VM to another QEMU of this host, which gets its very memory (cpr-transfer), with its devices: their servers
 * keep the states while QEMU connects anew. Whatever fails before the other QEMU has taken a device leaves the VM running where
 * it was. Rejects with VmError; ERR_VM_STRANDED: the VM stands still, and another attempt with a QEMU started anew goes on;
 * ERR_VM_LOST: something is lost.
 */
export async function upgradeVm(options: UpgradeOptions): Promise<UpgradeReport> {
  const journals = options.journals ?? new Journals(new MemoryJournalFiles());
  const earlier = options.dryRun === true ? null : await takeUp(journals, options);
  try {
    return await passOn({ ...options, journals }, earlier);
  } finally {
    await earlier?.journal.close();
  }
}

/** Passes it on; `earlier` is an upgrade that had got as far as that a device had been taken, and stays the caller's. */
export async function passOn(
  options: UpgradeOptions & { readonly journals: Journals },
  earlier: BegunUpgrade | null,
): Promise<UpgradeReport> {
  const reached = await reachVm('upgrade', options);
  const passage = new Passage(reached, options, earlier);
  try {
    return await passage.run();
  } finally {
    await passage.close();
    await leaveVm(reached);
  }
}

/** What an attempt before has left behind is undone; what can't be is gone on with. Null: nothing is left. */
async function takeUp(
  journals: Journals,
  { monitorPath, timeoutMs = UPGRADE_TIMEOUT_MS }: UpgradeOptions,
): Promise<BegunUpgrade | null> {
  const begun = await unfinishedUpgrade(journals, vmName(monitorPath));
  if (begun === null) return null;
  try {
    if (positionIn(begun) === 'COMMIT') throw committed(monitorPath);
    if (!(await isUndone(begun, monitorPath, timeoutMs))) return begun;
    await begun.journal.close();
    return null;
  } catch (error) {
    await begun.journal.close();
    throw error;
  }
}

async function isUndone(begun: BegunUpgrade, monitorPath: string, timeoutMs: number): Promise<boolean> {
  const monitor = await QmpClient.connect(monitorPath, { timeoutMs });
  try {
    const { is } = await settle(begun, monitor, { patienceMs: timeoutMs, timeoutMs });
    if (is === 'back') await abort(begun, 'it is begun anew');
    return is === 'back';
  } finally {
    monitor.close();
  }
}

function committed(monitor: string): VmError {
  const text = `the VM of ${monitor} has been given to another QEMU before, and that was not finished: ferry recover`;
  return new VmError('ERR_VM_STRANDED', text, { monitor });
}
