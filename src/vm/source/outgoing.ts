import { countIn, listOf, member, textIn } from '../json.ts';
import { qmp, type VmSequence } from '../step.ts';
import { both } from '../together.ts';
import { VmError } from '../vm-error.ts';
import { untilMigration } from '../waiting.ts';

/** How QEMU's own migration stands. */
export interface Outgoing {
  /** MigrationStatus in qapi/migration.json; `none` when there was none. */
  readonly status: string;
  /** Bytes of memory that are left, as far as it knows. */
  readonly remaining: number;
  /** How often it has looked what the guest has written: one more than passes over memory that are over; 0 before it begins. */
  readonly passes: number;
  /** Why it failed. */
  readonly reason: string | null;
}

/** What a migration needs of a QEMU, and what was there before. */
export interface OutgoingSettings {
  readonly capabilities: readonly object[];
  readonly parameters: object;
}

/** Bytes per second: the channel is what limits it. */
const MAX_BANDWIDTH = 2 ** 50;
/** The longest that QEMU allows, in milliseconds (qapi/migration.json): whatever is left, switch. */
const AT_ONCE = 2_000_000;
/** Statuses in which the migration goes on. */
const UNDER_WAY = ['setup', 'active', 'pre-switchover', 'device'];

/** How it stands. */
export function* readOutgoing(): VmSequence<Outgoing> {
  const answer = yield* qmp('query-migrate');
  const ram = member(answer, 'ram');
  return {
    status: textIn(answer, 'status') ?? 'none',
    remaining: countIn(ram, 'remaining') ?? 0,
    passes: countIn(ram, 'dirty-sync-count') ?? 0,
    reason: textIn(answer, 'error-desc'),
  };
}

/**
 * Has QEMU send the VM to a UNIX socket, and pause before it switches: it goes on sending what is written anew until it
 * is told to stop, for no downtime is short enough. Returns what its settings were before.
 */
export function* startOutgoing(uri: string): VmSequence<OutgoingSettings> {
  const before = yield* readSettings();
  yield* qmp('migrate-set-capabilities', {
    capabilities: [
      { capability: 'pause-before-switchover', state: true },
      { capability: 'events', state: true },
    ],
  });
  yield* qmp('migrate-set-parameters', { 'downtime-limit': 0, 'max-bandwidth': MAX_BANDWIDTH });
  yield* qmp('migrate', { uri });
  return before;
}

/** Gives QEMU's settings back, for the next migration, which may be somebody else's. */
export function* restoreSettings({ capabilities, parameters }: OutgoingSettings): VmSequence<void> {
  yield* qmp('migrate-set-capabilities', { capabilities });
  yield* qmp('migrate-set-parameters', parameters);
}

/**
 * Stops the VM at once. QEMU would do that by itself as soon as it may switch; but it looks only every 100 ms whether it may
 * (BUFFER_DELAY in migration/migration.c), and what the guest writes until then has to be sent while it stands still.
 * QEMU goes on sending.
 */
export function* stopVm(): VmSequence<void> {
  yield* both(qmp('stop'), qmp('migrate-set-parameters', { 'downtime-limit': AT_ONCE }));
}

/**
 * Has QEMU save and send its devices, which must not change any more, when it has sent all that was left of a VM that stands
 * still: it refuses before.
 */
export function* finishOutgoing(timeoutMs: number): VmSequence<void> {
  const told = yield* untilMigration(timeoutMs, continueSwitch);
  if (told === null) throw new VmError('ERR_VM_TIMEOUT', `QEMU was not ready to switch in ${timeoutMs} ms`);
}

function* continueSwitch(): VmSequence<true | null> {
  try {
    yield* qmp('migrate-continue', { state: 'pre-switchover' });
    return true;
  } catch (error) {
    const outgoing = yield* readOutgoing();
    requireUnderWay(outgoing);
    if (outgoing.status === 'active') return null;
    // It is there now; or it refuses for another reason.
    if (outgoing.status !== 'pre-switchover') throw error;
    yield* qmp('migrate-continue', { state: 'pre-switchover' });
    return true;
  }
}

/** Waits until QEMU says that all has been sent. */
export function* awaitCompleted(timeoutMs: number): VmSequence<void> {
  const completed = yield* untilMigration(timeoutMs, function* () {
    const outgoing = yield* readOutgoing();
    if (outgoing.status === 'completed') return true;
    requireUnderWay(outgoing);
    return null;
  });
  if (completed === null) throw new VmError('ERR_VM_TIMEOUT', `QEMU did not finish in ${timeoutMs} ms`);
}

/** Brings the VM back, however far the migration has got: it runs again here. */
export function* bringVmBack(timeoutMs: number): VmSequence<void> {
  if (UNDER_WAY.includes((yield* readOutgoing()).status)) yield* qmp('migrate_cancel');
  const ended = yield* untilMigration(timeoutMs, function* () {
    const { status } = yield* readOutgoing();
    return status === 'cancelling' || UNDER_WAY.includes(status) ? null : true;
  });
  if (ended === null)
    throw new VmError('ERR_VM_TIMEOUT', `QEMU did not cancel its migration in ${timeoutMs} ms`);
  if (!(yield* runs())) yield* qmp('cont');
  if (!(yield* runs())) throw new VmError('ERR_VM_COMMAND', 'the VM does not run although it was told to');
}

function* runs(): VmSequence<boolean> {
  return member(yield* qmp('query-status'), 'running') === true;
}

/** @throws VmError ERR_VM_MIGRATION with QEMU's reason when its migration has ended */
export function requireUnderWay({ status, reason }: Outgoing): void {
  if (UNDER_WAY.includes(status)) return;
  throw new VmError(
    'ERR_VM_MIGRATION',
    `QEMU's migration is ${status}${reason === null ? '' : `: ${reason}`}`,
  );
}

function* readSettings(): VmSequence<OutgoingSettings> {
  const wanted = ['pause-before-switchover', 'events'];
  const all = listOf(yield* qmp('query-migrate-capabilities'));
  const parameters = yield* qmp('query-migrate-parameters');
  const kept = ['downtime-limit', 'max-bandwidth'].flatMap((name) => {
    const value = member(parameters, name);
    return typeof value === 'number' ? [[name, value]] : [];
  });
  return {
    capabilities: all
      .filter((each) => wanted.includes(textIn(each, 'capability') ?? ''))
      .map((each) => ({ capability: textIn(each, 'capability'), state: member(each, 'state') === true })),
    parameters: Object.fromEntries(kept),
  };
}
