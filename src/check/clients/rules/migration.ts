import { Command, Feature, FeatureFlag } from '../../../protocol/index.ts';
import { MigrationState, migrationMachine, stateName } from '../../../states/index.ts';
import { practice, specification, uapi } from '../../rule.ts';
import { notApplicable } from '../../verdict.ts';
import { u32At, u64At } from '../../wire/bytes.ts';
import { type ClientRule, type ClientWorld, clientRule, limitsOf, type Spoken } from '../client-world.ts';
import { replyTo, type Said, saidIn, toldIn } from '../happening.ts';
import { MODEL_FLAGS } from '../model/migration-model.ts';

const { DEVICE_FEATURE, MIG_DATA_READ, MIG_DATA_WRITE, REGION_READ, REGION_WRITE } = Command;
const { STOP_COPY, RESUMING, PRE_COPY, PRE_COPY_P2P, STOP } = MigrationState;
const { GET, SET, PROBE } = FeatureFlag;
const FEATURE_HEAD = 8;
const DATA_HEAD = 8;
const machine = migrationMachine(MODEL_FLAGS);

const flagsOf = ({ payload }: Said): number => u32At(payload, 4);
const targetOf = ({ payload }: Said): number => u32At(payload, 8);
const isSet = (said: Said, feature: number): boolean => (flagsOf(said) & 0x7ffff) === (SET | feature);

/** The messages by which the client changes the state. */
function changes(world: ClientWorld): Spoken[] {
  const found = world.commands(DEVICE_FEATURE).filter(({ said }) => isSet(said, Feature.MIG_DEVICE_STATE));
  if (found.length === 0) notApplicable('the client never changes the migration state');
  return found;
}

function wrongFeature(said: Said): string | null {
  const flags = flagsOf(said);
  const argsz = u32At(said.payload, 0);
  if (said.length < FEATURE_HEAD || argsz < FEATURE_HEAD) return `argsz ${argsz}, ${said.length} bytes`;
  if ((flags & ~(0xffff | GET | SET | PROBE)) !== 0) return `flags 0x${flags.toString(16)}`;
  if ((flags & (GET | SET | PROBE)) === 0) return 'neither GET nor SET nor PROBE';
  return (flags & GET) !== 0 && (flags & SET) !== 0 && (flags & PROBE) === 0 ? 'GET and SET at once' : null;
}

function wrongChange(said: Said): string | null {
  const [from, to] = [said.state, targetOf(said)];
  try {
    machine.path(from, to);
    return null;
  } catch {
    return `${stateName(from)} to ${stateName(to)}`;
  }
}

function inStates(what: string, allowed: readonly MigrationState[]) {
  return ({ state }: Said): string | null =>
    allowed.includes(state) ? null : `${what} in ${stateName(state)}`;
}

/** How a device is moved. */
export const migrationRules: readonly ClientRule[] = [
  clientRule({
    id: 'feature.form',
    clause: uapi('struct vfio_device_feature'),
    severity: 'must',
    title: 'DEVICE_FEATURE has one of GET and SET, or PROBE, and no unknown bits',
    why: 'Servers refuse others (EINVAL), and a client may take that for a device without the feature.',
    check: (world) =>
      world.demand(world.commands(DEVICE_FEATURE), wrongFeature, 'GET, SET, or PROBE with either or both'),
  }),
  clientRule({
    id: 'feature.logging',
    clause: uapi('struct vfio_device_feature_dma_logging_control'),
    severity: 'must',
    title: 'DMA logging is started with a page size that is a power of two, and as many ranges as are named',
    why: 'Servers refuse others, and no page is logged.',
    check: (world) => {
      const starts = world
        .commands(DEVICE_FEATURE)
        .filter(({ said }) => isSet(said, Feature.DMA_LOGGING_START));
      if (starts.length === 0) notApplicable('the client never starts DMA logging');
      world.demand(
        starts,
        (said) => {
          const [pageSize, ranges] = [u64At(said.payload, 8), u32At(said.payload, 16)];
          if (pageSize === 0n || (pageSize & (pageSize - 1n)) !== 0n) return `page size ${pageSize}`;
          return said.length === 24 + 16 * ranges ? null : `${ranges} ranges in ${said.length} bytes`;
        },
        'a power of two, and 16 bytes for each range',
      );
    },
  }),
  clientRule({
    id: 'migration.arcs',
    clause: uapi('enum vfio_device_mig_state'),
    severity: 'must',
    title: 'the state is changed only along ways that the device has',
    why: 'Others are refused, and the device stays where it was while the client may believe otherwise.',
    check: (world) =>
      world.demand(changes(world), wrongChange, 'a state that can be reached (ferry states path)'),
  }),
  clientRule({
    id: 'migration.read-states',
    clause: uapi('VFIO_DEVICE_STATE_PRE_COPY, STOP_COPY: the data session'),
    severity: 'must',
    title: 'migration data is read in PRE_COPY, PRE_COPY_P2P and STOP_COPY',
    why: 'In other states there is no data, and servers refuse.',
    check: (world) =>
      world.demand(
        world.commands(MIG_DATA_READ),
        inStates('it reads', [PRE_COPY, PRE_COPY_P2P, STOP_COPY]),
        'to read in a state that saves',
      ),
  }),
  clientRule({
    id: 'migration.write-states',
    clause: uapi('VFIO_DEVICE_STATE_RESUMING: the data session'),
    severity: 'must',
    title: 'migration data is written in RESUMING only',
    why: 'In other states nobody takes it, and servers refuse.',
    check: (world) =>
      world.demand(world.commands(MIG_DATA_WRITE), inStates('it writes', [RESUMING]), 'to write in RESUMING'),
  }),
  clientRule({
    id: 'migration.data-form',
    clause: specification('VFIO_USER_MIG_DATA_READ, VFIO_USER_MIG_DATA_WRITE'),
    severity: 'must',
    title: 'migration data has its size and argsz, and no more than the server takes',
    why: 'A size that is not that of the data makes half a state, or is refused.',
    check: (world) =>
      world.demand(
        world.commands(MIG_DATA_READ, MIG_DATA_WRITE),
        (said, session) => {
          const [argsz, size] = [u32At(said.payload, 0), u32At(said.payload, 4)];
          const data = said.header.command === MIG_DATA_WRITE ? size : 0;
          if (said.length !== DATA_HEAD + data) return `size ${size} and ${said.length} bytes`;
          if (argsz < DATA_HEAD + size) return `argsz ${argsz} for ${size} bytes`;
          const most = limitsOf(session).maxDataXferSize;
          return size > most ? `size ${size}, the server takes ${most}` : null;
        },
        'argsz = 8 + size, and size bytes in a write',
      ),
  }),
  clientRule({
    id: 'migration.reads-all',
    clause: practice('QEMU and libvfio-user: the end of the data is a read of 0 bytes'),
    severity: 'must',
    title: 'a state is read to its end before STOP_COPY is left for STOP',
    why: 'Half a state is restored as if it were whole, or refused at the destination.',
    check: (world) => {
      for (const { session, said } of changes(world)) {
        if (said.state !== STOP_COPY || targetOf(said) !== STOP) continue;
        const before = saidIn(session).slice(0, saidIn(session).indexOf(said));
        const last = before.findLast(({ header }) => header.command === MIG_DATA_READ);
        const reply = last === undefined ? null : replyTo(session, last);
        const failed = reply !== null && reply.header.error !== 0;
        if (reply === null || (!failed && u32At(reply.payload, 4) !== 0))
          world.accuse(
            session,
            said,
            'it left STOP_COPY before the data had ended',
            'MIG_DATA_READ until 0 bytes come',
          );
      }
    },
  }),
  clientRule({
    id: 'migration.untouched',
    clause: uapi('VFIO_DEVICE_STATE_STOP_COPY, RESUMING: the device is not accessed'),
    severity: 'should',
    title: 'registers are left alone while the state is taken or given',
    why: 'Reads are not reliable then, and writes are lost or become half of a state.',
    check: (world) => {
      changes(world);
      const touches = world
        .commands(REGION_READ, REGION_WRITE)
        .filter(({ said }) => u32At(said.payload, 8) < 6);
      world.demand(
        touches,
        ({ state }) => (state === STOP_COPY || state === RESUMING ? `a BAR in ${stateName(state)}` : null),
        'no access to a BAR in STOP_COPY and RESUMING',
      );
    },
  }),
  clientRule({
    id: 'migration.recovery',
    clause: practice(
      'libvfio-user serves only region accesses, DEVICE_FEATURE and MIG_DATA_READ in STOP_COPY',
    ),
    severity: 'interoperability',
    title: 'a refusal by a device that was left in STOP_COPY leads to its state being asked for',
    why: 'The state survives its controller, and nearly everything is refused until RUNNING is set: it looks like a defect.',
    check: (world) => {
      changes(world);
      for (const session of world.playing('left-in-stop-copy')) {
        const refused = toldIn(session).find(({ header, to }) => to !== null && header.error !== 0);
        if (refused === undefined || saidIn(session).some(({ header }) => header.command === DEVICE_FEATURE))
          continue;
        world.accuse(
          session,
          refused.to,
          'it gave up without asking for the state',
          'DEVICE_FEATURE MIG_DEVICE_STATE',
        );
      }
    },
  }),
];
