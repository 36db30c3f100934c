import { MigrationFlag, MigrationState, parseState, stateName } from '../../states/index.ts';
import type { Rule } from '../finding.ts';
import { textAt } from '../json-value.ts';
import { isQemu, processText } from '../process-facts.ts';
import type { DeviceFacts, SocketFacts } from '../socket-facts.ts';
import { deviceRule } from './device-rule.ts';

const KNOWN_FLAGS = BigInt(MigrationFlag.STOP_COPY | MigrationFlag.P2P | MigrationFlag.PRE_COPY);

const has = ({ description }: DeviceFacts, flag: number): boolean =>
  ((description.migration.flags ?? 0n) & BigInt(flag)) !== 0n;

const isIn =
  (...states: readonly MigrationState[]) =>
  ({ description: { migration } }: DeviceFacts): boolean =>
    states.some((state) => state === migration.state);

/** What the server offers for a migration, and in which state its device is. */
export const migrationRules: readonly Rule<SocketFacts>[] = [
  deviceRule({
    id: 'no-migration',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ description: { migration, refused } }) =>
      migration.flags === null && migration.v1 === undefined
        ? `the server offers no migration${refusalOf(refused.map(({ message }) => message))}`
        : null,
    why: 'Neither DEVICE_FEATURE MIGRATION (v2) nor a migration region (v1) is there, so its state cannot be taken.',
    next: () => [
      'libvfio-user: vfu_setup_device_migration_callbacks before vfu_realize_ctx',
      'a device of Ferry: declare its state (docs/write-a-device.md)',
    ],
  }),
  deviceRule({
    id: 'migration-flags',
    certainty: 'certain',
    effect: 'prevents',
    finding: (device) => {
      const { flags } = device.description.migration;
      if (flags === null || (has(device, MigrationFlag.STOP_COPY) && (flags & ~KNOWN_FLAGS) === 0n))
        return null;
      return `the migration flags are 0x${flags.toString(16)}`;
    },
    why: 'STOP_COPY is the least that a device must have, and unknown flags may change what the states mean (linux/vfio.h).',
    next: () => ['offer STOP_COPY (1), and of the others only P2P (2) and PRE_COPY (4)'],
  }),
  deviceRule({
    id: 'state-error',
    certainty: 'certain',
    effect: 'prevents',
    finding: (device) => (isIn(MigrationState.ERROR)(device) ? 'the device is in ERROR' : null),
    why: 'A change of its migration state has failed; only a reset leaves ERROR, and loses what the device had.',
    next: ({ path }) => [`ferry state ${path} --reset`, 'look into the log of the server for what failed'],
  }),
  deviceRule({
    id: 'state-unknown',
    certainty: 'certain',
    effect: 'prevents',
    finding: ({ description: { migration } }) =>
      migration.state !== null && parseState(migration.state) === null
        ? `the device is in state ${migration.state}, which no version of the interface has`
        : null,
    why: 'Nobody can tell whether the device runs, or what may follow.',
    next: () => ['correct the server', 'see what else it says: ferry check'],
  }),
  deviceRule({
    id: 'state-left',
    certainty: 'likely',
    effect: 'prevents',
    finding: (device) => {
      const { STOP, STOP_COPY, RESUMING } = MigrationState;
      if (!isIn(STOP, STOP_COPY, RESUMING)(device)) return null;
      const state = stateName(device.description.migration.state ?? STOP);
      return `the device is in ${state}: it does not run`;
    },
    why:
      'A migration goes on, or one was interrupted: the state survives its controller. A guest finds its device dead, and ' +
      'libvfio-user refuses even a reset now.',
    next: ({ path }) => [
      'find out who has the device: ferry recover',
      `when its state runs nowhere else: ferry state ${path} --set RUNNING`,
    ],
  }),
  deviceRule({
    id: 'pre-copy-left',
    certainty: 'suspected',
    effect: 'endangers',
    finding: (device, { isControl }) => {
      if (!isIn(MigrationState.PRE_COPY, MigrationState.PRE_COPY_P2P)(device)) return null;
      const driven = textAt(device.description.server, 'migration', 'sessionOwner') !== null;
      return driven
        ? null
        : `the device is in PRE_COPY${isControl ? '' : ' and nobody drives its migration'}`;
    },
    why: 'It runs, but keeps track of its changes for a migration that nobody finishes.',
    next: ({ path }) => [`ferry state ${path} --set RUNNING`],
  }),
  deviceRule({
    id: 'last-error',
    certainty: 'suspected',
    effect: 'endangers',
    finding: ({ description: { server } }) => {
      const message = textAt(server, 'migration', 'lastError', 'message');
      return message === null ? null : `the last change of its migration state failed: ${message}`;
    },
    why: 'It may fail again.',
    next: () => ['correct what the message names, then: ferry migrate --dry-run'],
  }),
  deviceRule({
    id: 'no-pre-copy',
    certainty: 'certain',
    effect: 'endangers',
    finding: (device) =>
      device.description.migration.flags !== null && !has(device, MigrationFlag.PRE_COPY)
        ? 'the device has no PRE_COPY'
        : null,
    why: 'All of its state is copied while it stands still: the downtime grows with the state.',
    next: () => [
      'allow for it: ferry migrate --downtime-limit',
      'declare large state as memory, so that it is copied ahead',
    ],
  }),
  deviceRule({
    id: 'no-p2p',
    certainty: 'certain',
    effect: 'endangers',
    finding: (device) =>
      device.description.migration.flags !== null && !has(device, MigrationFlag.P2P)
        ? 'the device has no P2P'
        : null,
    why: 'QEMU refuses to migrate a VM with several VFIO devices unless all of them have P2P; alone it does not matter.',
    next: () => ['nothing, for a device that is moved alone'],
  }),
  deviceRule({
    id: 'size-unknown',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ description: { migration } }) =>
      migration.flags !== null && migration.dataSize === null
        ? 'the server does not tell the size of the state'
        : null,
    why: 'The downtime cannot be foreseen (MIG_DATA_SIZE; libvfio-user does not have it, QEMU then assumes 100 GiB).',
    next: () => ['nothing, when the device is small', 'answer device feature 9 (linux/vfio.h)'],
  }),
  deviceRule({
    id: 'qemu-loses-state',
    certainty: 'certain',
    effect: 'endangers',
    finding: ({ vmm }) =>
      vmm !== null && isQemu(vmm)
        ? `${processText(vmm)} loses the state of this device when its VM is migrated, and says "completed"`
        : 'QEMU loses the state of a vfio-user device when its VM is migrated, and says "completed"',
    why:
      'Its vfio-user-pci (10.1 to 11.1) neither migrates nor blocks: no section for the device, BARs unmapped and COMMAND 0 at ' +
      'the destination, and guest memory that the device wrote by itself is stale there.',
    next: () => [
      'migrate the VM with: ferry vm migrate (ferry vm check says whether it would work)',
      'never with the plain command `migrate` of QEMU, nor through libvirt',
      'to replace only the server below a running guest: ferry upgrade',
    ],
  }),
];

function refusalOf(messages: readonly string[]): string {
  const refusal = messages.find((message) => message.startsWith('DEVICE_FEATURE'));
  return refusal === undefined ? '' : ` (${refusal})`;
}
