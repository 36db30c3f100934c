/** What a QEMU's command line says that matters to a vfio-user device. */
export interface QemuFacts {
  /** Memory backends that the guest's memory is made of and that other processes see a stale copy of. */
  readonly privateBackends: readonly string[];
  /** No memory backend is named: guest memory can't be shared at all. */
  readonly noBackend: boolean;
  /** An emulated IOMMU stands before the devices. */
  readonly viommu: string | null;
  /** The machine type, without its version; null when it is not named. */
  readonly machine: string | null;
}

/** Which backends share their memory when `share` is not named (QEMU, backends/hostmem-*.c). */
const SHARED_BY_DEFAULT: ReadonlySet<string> = new Set(['memory-backend-memfd']);

/** Reads QEMU's arguments; both forms of -object and -device, JSON and `key=value`. */
export function readQemuArguments(args: readonly string[]): QemuFacts {
  const values = args.map((arg) => settingsOf(arg));
  const backends = values.filter(({ type }) => type.startsWith('memory-backend-'));
  return {
    privateBackends: backends.filter((backend) => !isShared(backend)).map(describeBackend),
    noBackend: backends.length === 0,
    viommu: values.find(({ type }) => /^(?:intel|amd|virtio|arm)-?.*iommu/.test(type))?.type ?? null,
    machine: machineOf(args),
  };
}

interface Settings {
  /** The first word, or `qom-type` or `driver` of JSON. */
  readonly type: string;
  readonly named: ReadonlyMap<string, string>;
}

function settingsOf(arg: string): Settings {
  const entries = arg.startsWith('{') ? jsonEntries(arg) : plainEntries(arg);
  const named = new Map(entries);
  return { type: named.get('qom-type') ?? named.get('driver') ?? '', named };
}

function jsonEntries(arg: string): (readonly [string, string])[] {
  try {
    const parsed: unknown = JSON.parse(arg);
    if (typeof parsed !== 'object' || parsed === null) return [];
    return Object.entries(parsed).map(([name, value]) => [name, String(value)] as const);
  } catch {
    return [];
  }
}

function plainEntries(arg: string): (readonly [string, string])[] {
  const [type = '', ...rest] = arg.split(',');
  const pairs = rest.map((each) => {
    const [name = '', value = 'on'] = each.split('=', 2);
    return [name, value] as const;
  });
  return [['driver', type], ...pairs];
}

function isShared({ type, named }: Settings): boolean {
  const share = named.get('share');
  if (share === undefined) return SHARED_BY_DEFAULT.has(type);
  return share === 'on' || share === 'yes' || share === 'true';
}

function describeBackend({ type, named }: Settings): string {
  const id = named.get('id');
  return id === undefined ? type : `${type} "${id}"`;
}

function machineOf(args: readonly string[]): string | null {
  const at = args.findIndex((arg) => arg === '-machine' || arg === '-M' || arg === '--machine');
  if (at < 0) return null;
  const [first = ''] = (args[at + 1] ?? '').split(',');
  const name = first.replace(/^type=/, '');
  return name === '' || name.includes('=')
    ? null
    : name.replace(/^pc-q35.*/, 'q35').replace(/^pc-i440fx.*/, 'pc');
}
