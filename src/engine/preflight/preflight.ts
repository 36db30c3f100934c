import { FerryError } from '../../errors/index.ts';
import { MigrationFlag, MigrationState, migrationMachine, stateName } from '../../states/index.ts';
import type { EndName } from '../step.ts';
import type { Manifest, ManifestDevice } from './manifest.ts';

/** Whether a migration can work. */
export interface Verdict {
  /** Why not, in plain words; empty when it can. */
  readonly reasons: readonly string[];
  /** What is worth knowing all the same. */
  readonly notes: readonly string[];
}

const NO_INSTANCE = '0'.repeat(16);
const { STOP, RUNNING } = MigrationState;

/** What speaks against one side, whatever the other one is. */
export function judgeSide(end: EndName, manifest: Manifest): readonly string[] {
  const { devices } = manifest;
  const own = devices.flatMap((device, index) => judgeDevice(end, device, index, manifest));
  const lacking = devices.filter((device) => !hasFlag(device, MigrationFlag.P2P));
  if (devices.length < 2 || lacking.length === 0 || manifest.force) return own;
  const [first] = lacking;
  const many = `a group of ${devices.length} devices can't be stopped without risk`;
  const why = `${first?.name} at the ${end} has no P2P states, so another one could write to it when it has stopped`;
  return [...own, `${many}: ${why}. Insist if the devices never access each other`];
}

function judgeDevice(
  end: EndName,
  device: ManifestDevice,
  index: number,
  { devices, paused }: Manifest,
): readonly string[] {
  const who = calling(end, device, index, devices.length);
  const unfit = whyUnfit(device.flags);
  if (unfit !== null) return [`the device at ${who} can't migrate${unfit}`];
  if (device.busy !== null) return [`${who} is busy: ${device.busy}`];
  const mayStop = end === 'source' && paused;
  if (device.state === RUNNING || (mayStop && device.state === STOP)) return [];
  const hint =
    end === 'source' && device.state === STOP ? ': if its guest is paused and stays so, say that' : '';
  return [`${who} is in ${stateName(device.state)}, and a migration starts from RUNNING${hint}`];
}

/** Null when a device with these flags can migrate. */
function whyUnfit(flags: number | null): string | null {
  if (flags === null) return '';
  try {
    migrationMachine(flags);
    return null;
  } catch (error) {
    return `: ${error instanceof FerryError ? error.message : String(error)}`;
  }
}

/** Compares what is to move with what it is to move to, and judges the destination. */
export function compareManifests(source: Manifest, destination: Manifest): Verdict {
  const count = source.devices.length;
  if (count !== destination.devices.length) {
    const there = destination.devices.length;
    return { reasons: [`the source has ${counted(count)}, and the destination ${there}`], notes: [] };
  }
  const reasons = [...judgeSide('destination', { ...destination, force: source.force })];
  const notes: string[] = [];
  source.devices.forEach((here, index) => {
    const there = destination.devices[index];
    if (there === undefined) return;
    reasons.push(...comparePair(here, there, index, count));
    notes.push(...notesOn(here, there, index, count));
  });
  return { reasons: [...reasons, ...compareMemory(source, destination)], notes };
}

function comparePair(
  here: ManifestDevice,
  there: ManifestDevice,
  index: number,
  count: number,
): readonly string[] {
  const which = count === 1 ? '' : ` (device ${index})`;
  const same = isSame(here, there)
    ? [
        `${here.name} can't be both the source and the destination: both names lead to the same device${which}`,
      ]
    : [];
  const different = differences(here, there).map(
    (difference) => `the two devices are not the same${which}: ${difference}`,
  );
  return [
    ...same,
    ...different,
    ...compareConfiguration(here, there, which),
    ...comparePieces(here, there, which),
  ];
}

function isSame(here: ManifestDevice, there: ManifestDevice): boolean {
  return here.instance !== NO_INSTANCE && here.instance === there.instance;
}

/** What only one of them names is not compared: they may be of different versions. */
function differences(here: ManifestDevice, there: ManifestDevice): readonly string[] {
  if (here.identity === null || there.identity === null) return [];
  const source = new Map(Object.entries(here.identity));
  return Object.entries(there.identity).flatMap(([name, value]) => {
    const other = source.get(name);
    if (other === undefined || other === value) return [];
    return [`${name} is ${printed(other)} at the source and ${printed(value)} at the destination`];
  });
}

/** v1 keeps the sizes of pieces: one that does not fit would be noticed half-way. */
function comparePieces(here: ManifestDevice, there: ManifestDevice, which: string): readonly string[] {
  const [largest, room] = [here.largestPiece, there.largestPiece];
  if (largest === undefined || room === undefined || largest <= room) return [];
  return [
    `the destination takes pieces of ${room} bytes${which}, and those of the source have up to ${largest}`,
  ];
}

function compareConfiguration(here: ManifestDevice, there: ManifestDevice, which: string): readonly string[] {
  if (here.configuration === null || there.configuration !== null) return [];
  return [`the destination takes no configuration space${which}, and the source sends it`];
}

function compareMemory(source: Manifest, destination: Manifest): readonly string[] {
  const [here, there] = [source.memory, destination.memory];
  if (here.length === there.length && here.every((size, i) => size === there[i])) return [];
  const list = (sizes: readonly number[]): string => (sizes.length === 0 ? 'none' : sizes.join(', '));
  return [
    `guest memory is ${list(here)} at the source and ${list(there)} at the destination (bytes of its regions)`,
  ];
}

function notesOn(
  here: ManifestDevice,
  there: ManifestDevice,
  index: number,
  count: number,
): readonly string[] {
  const unguarded = [
    ...(here.claims ? [] : [['source', here] as const]),
    ...(there.claims ? [] : [['destination', there] as const]),
  ];
  return [
    ...unguarded.map(([end, device]) => {
      const who = calling(end, device, index, count);
      return `${who} knows no claims: nothing keeps others from starting it or resetting it meanwhile`;
    }),
    ...here.backEnds
      .filter((each) => there.backEnds.includes(each))
      .map((each) => `both use ${each}: it has to be the same storage on both hosts, or none`),
    ...(hasFlag(here, MigrationFlag.PRE_COPY) && hasFlag(there, MigrationFlag.PRE_COPY)
      ? []
      : [`${calling('source', here, index, count)} is moved without pre-copy: not both ends have it`]),
  ];
}

function hasFlag({ flags }: ManifestDevice, flag: number): boolean {
  return flags !== null && (flags & flag) !== 0;
}

function calling(end: EndName, { name }: ManifestDevice, index: number, count: number): string {
  return count === 1 ? `the ${end}` : `the ${end}'s device ${index} (${name})`;
}

function printed(value: string | number): string {
  return typeof value === 'number' ? `0x${value.toString(16)}` : value;
}

function counted(count: number): string {
  return count === 1 ? '1 device' : `${count} devices`;
}
