import { ecamAddress, findEcam, type Peek } from '../machine/ecam.ts';
import { CONFIG_BYTES } from '../performer.ts';
import type { DeviceRecord, VmRecord } from '../record.ts';
import { msixTableOf } from '../registers.ts';
import { carryOut, read, type VmSequence, write } from '../step.ts';
import { VmError } from '../vm-error.ts';
import { type ReplayWrite, replayList } from './replay-list.ts';

/** What {@link replay} has done. */
export interface Replayed {
  /** Writes, of all devices. */
  readonly writes: number;
}

/**
 * Makes QEMU's devices, which its migration has left as they are after a reset, what they were at the source. The VM is
 * there and stopped, and the servers have their states. Everything that was written is read back. Lets go of the gdb stub.
 */
export function* replay(record: VmRecord): VmSequence<Replayed> {
  yield* requireSameEcam(record);
  let writes = 0;
  for (const device of record.devices) writes += yield* replayDevice(record.ecam, device);
  yield* carryOut({ do: 'detach' });
  return { writes };
}

const peek: Peek = function* (address, length) {
  try {
    return yield* read(address, length);
  } catch (error) {
    if (error instanceof VmError && error.code === 'ERR_VM_COMMAND') return null;
    throw error;
  }
};

function* requireSameEcam({ ecam, hostBridge }: VmRecord): VmSequence<void> {
  const found = yield* findEcam(peek, [ecam]);
  if (found?.hostBridge === hostBridge) return;
  const where = `0x${ecam.toString(16)}`;
  throw new VmError(
    'ERR_VM_REPLAY',
    `configuration space is not at ${where} at the destination, as it was at the source`,
  );
}

function* replayDevice(ecam: bigint, record: DeviceRecord): VmSequence<number> {
  const at = ecamAddress(ecam, record);
  const own = yield* read(at, CONFIG_BYTES);
  const table = msixTableOf(record.config)?.address ?? 0n;
  const writes = replayList(own, record);
  const addressOf = ({ to, offset }: ReplayWrite): bigint => (to === 'table' ? table : at) + BigInt(offset);
  for (const each of writes) yield* write(addressOf(each), each.bytes);
  for (const each of lastOfEach(writes)) yield* verify(each, addressOf(each), record);
  return writes.length;
}

/** Bit 15 of both tells of an event or starts one, and is not written. */
const WITH_EVENTS = ['power management control', 'PCI Express device control'];

/** COMMAND may be written twice: the last one counts. */
function lastOfEach(writes: readonly ReplayWrite[]): readonly ReplayWrite[] {
  const last = new Map(writes.map((each) => [`${each.to} ${each.offset}`, each]));
  return [...last.values()].filter(({ name }) => !WITH_EVENTS.includes(name));
}

function* verify(
  { name, bytes }: ReplayWrite,
  address: bigint,
  { bus, slot, function: fn }: DeviceRecord,
): VmSequence<void> {
  const found = yield* read(address, bytes.length);
  if (bytes.every((byte, i) => byte === found[i])) return;
  const who = `the device at ${bus}:${slot}.${fn}`;
  const values = `${hex(found)} instead of ${hex(bytes)}`;
  throw new VmError('ERR_VM_REPLAY', `${name} of ${who} is ${values} at the destination`, { register: name });
}

/** As a number: registers are little-endian. */
function hex(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes).reverse().toString('hex')}`;
}
