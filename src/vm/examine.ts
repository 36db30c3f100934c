import { type Attached, countAnonymous, readAttached } from './machine/attached.ts';
import { type Ecam, findEcam } from './machine/ecam.ts';
import { type Machine, readMachine } from './machine/machine.ts';
import { read, save, type VmSequence } from './step.ts';
import { VmError } from './vm-error.ts';

/** Which side of a migration a VM is to be; `upgrade`: it is to pass to another QEMU that gets its very memory. */
export type VmSide = 'source' | 'destination' | 'upgrade';

/** A device of the VM that is to move, as the command line names it. */
export interface NamedDevice {
  /** What QEMU calls it; null: the one whose server listens on `socketPath`. */
  readonly id: string | null;
  /** The main socket of its server, absolute. */
  readonly socketPath: string;
  /** What its server can do is enough for a VM: it is one of ours, and its configuration travels in its state. */
  readonly able: boolean;
}

/** What an examination has found. */
export interface Examined {
  readonly machine: Machine;
  /** The devices in the order in which they were named. */
  readonly devices: readonly Attached[];
  /** Where configuration space lies in memory; null at a destination, whose firmware has not run. */
  readonly ecam: Ecam | null;
  /** Why it can't be moved, each with what to do; empty when it can. */
  readonly reasons: readonly string[];
}

/** The first QEMU that has vfio-user-pci. */
const FIRST_VERSION = [10, 1] as const;

/** What QEMU would do that goes past this, by the name of the capability. */
const IN_THE_WAY: ReadonlyMap<string, string> = new Map([
  ['multifd', 'sends over several connections'],
  ['postcopy-ram', 'runs the guest before its memory is there'],
  ['return-path', 'needs an answer on the way back'],
  ['x-ignore-shared', 'leaves the memory out'],
  ['mapped-ram', 'is for files'],
  ['background-snapshot', 'is for snapshots'],
  ['x-colo', 'runs two VMs at once'],
  ['zero-copy-send', 'needs several connections'],
]);

/** Looks at a VM and at what is needed of it. Changes nothing. */
export function* examine(side: VmSide, named: readonly NamedDevice[]): VmSequence<Examined> {
  const machine = yield* readMachine();
  const attached = yield* readAttached();
  const anonymous = yield* countAnonymous();
  const matches = named.map((device) => ({ device, found: attached.find((one) => isNamed(one, device)) }));
  const devices = matches.flatMap(({ found }) => (found === undefined ? [] : [found]));
  const reach = yield* side === 'destination' ? tryStub(machine) : tryMonitor();
  const reasons = [
    ...judgeMachine(machine),
    ...judgeCapabilities(side, machine),
    ...judgeState(side, machine),
    ...matches.flatMap(({ device, found }) => judgeNamed(device, found)),
    ...judgeForgotten(attached, devices, anonymous),
    ...reach.reasons,
  ];
  return { machine, devices, ecam: reach.ecam, reasons };
}

function isNamed(one: Attached, { id, socketPath }: NamedDevice): boolean {
  return id === null ? one.socketPath === socketPath : one.id === id;
}

function judgeMachine({ version, backends, iommus, blockers, type }: Machine): readonly string[] {
  const [major, minor] = version;
  const isOld = major < FIRST_VERSION[0] || (major === FIRST_VERSION[0] && minor < FIRST_VERSION[1]);
  return [
    ...(isOld ? [`QEMU ${version.join('.')} is too old: 10.1 is the first with vfio-user-pci`] : []),
    ...(/q35/.test(type) ? [] : [`its machine is ${type}: only q35 has configuration space in memory`]),
    ...backends.flatMap(({ id, type: kind, share }) =>
      share || !/memfd|file|shm/.test(kind)
        ? []
        : [`its memory ${id} is private (share=off), which devices write past: start QEMU with share=on`],
    ),
    ...iommus.map((iommu) => `it has a ${iommu}: devices behind an IOMMU of the guest can't be moved`),
    ...blockers.map((why) => `QEMU does not migrate it: ${why}`),
  ];
}

/** An upgrade sets those that it needs, and one that was killed may have left them on. */
function judgeCapabilities(side: VmSide, { capabilities }: Machine): readonly string[] {
  return capabilities.flatMap((name) => {
    const why = IN_THE_WAY.get(name);
    if (why === undefined || (side === 'upgrade' && name === 'return-path')) return [];
    return [`QEMU's capability ${name} is on, which ${why}: turn it off`];
  });
}

function judgeState(side: VmSide, { status, migration }: Machine): readonly string[] {
  if (side !== 'destination') {
    const busy = ['setup', 'active', 'pre-switchover', 'device'].includes(migration);
    return [
      // One that an upgrade has left behind stands still; whether it is one its devices tell.
      ...(status === 'running' || side === 'upgrade'
        ? []
        : [`the VM is in the state ${status}: it has to run`]),
      ...(busy ? ['a migration of it is under way already'] : []),
    ];
  }
  if (status !== 'inmigrate')
    return [`the VM is in the state ${status}: start its QEMU with -incoming defer, and don't use it before`];
  return migration === 'none' ? [] : ['it waits for a VM already: start its QEMU with -incoming defer'];
}

function judgeNamed({ id, socketPath, able }: NamedDevice, found: Attached | undefined): readonly string[] {
  if (found === undefined) {
    const what =
      id === null ? `no device of it is served at ${socketPath}` : `it has no vfio-user device ${id}`;
    return [`${what}: name it as ID@PATH, ID being what its -device says`];
  }
  if (able) return [];
  const why = 'its server is not one of ferry serve, or moves its configuration space by itself';
  return [`${found.id} (${socketPath}) can't be moved with a VM: ${why}`];
}

/** What nobody names would be lost without a word. */
function judgeForgotten(
  attached: readonly Attached[],
  devices: readonly Attached[],
  anonymous: number,
): readonly string[] {
  const forgotten = attached.filter((one) => !devices.includes(one));
  return [
    ...forgotten.map(({ id, socketPath }) => {
      const where = socketPath === null ? '' : ` (${socketPath})`;
      return `${id}${where} is not among the devices that were named, and QEMU would lose it: name it too`;
    }),
    ...(anonymous === 0
      ? []
      : [`${anonymous} of its vfio-user devices have no id: give each one in its -device`]),
  ];
}

/** What came of trying the way to the registers. */
interface Reach {
  readonly ecam: Ecam | null;
  readonly reasons: readonly string[];
}

/** Reads what will be read: pmemsave, and configuration space in memory. */
function* tryMonitor(): VmSequence<Reach> {
  try {
    const ecam = yield* findEcam(save);
    const why =
      'configuration space is not in memory where firmware puts it: its guest has to have been booted';
    return { ecam, reasons: ecam === null ? [why] : [] };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const why = `the monitor can't save memory where this process can read it (--scratch): ${error.message}`;
    return { ecam: null, reasons: [why] };
  }
}

/** Connects to the gdb stub, and stays connected: that is not to be waited for later. What waits has nothing to be read yet. */
function* tryStub({ status }: Machine): VmSequence<Reach> {
  // To connect would stop one that runs.
  if (status !== 'inmigrate') return { ecam: null, reasons: [] };
  try {
    yield* read(0n, 1);
    return { ecam: null, reasons: [] };
  } catch (error) {
    if (!(error instanceof VmError)) throw error;
    return { ecam: null, reasons: error.code === 'ERR_VM_COMMAND' ? [] : [error.message] };
  }
}
