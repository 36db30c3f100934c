import { ecamAddress, findEcam, type Peek } from '../machine/ecam.ts';
import type { DeviceRecord, VmRecord } from '../record.ts';
import { msixTableOf } from '../registers.ts';
import { carryOut, read, readAll, type VmSequence, writeAll } from '../step.ts';
import { all, both } from '../together.ts';
import { VmError } from '../vm-error.ts';
import { type ReplayWrite, replayList } from './replay-list.ts';
import { setupSpans } from './setup-spans.ts';

/** What {@link replay} has done. */
export interface Replayed {
  /** Writes, of all devices. */
  readonly writes: number;
}

/** Sets up registers as {@link setUpRegisters} does, and lets go of the gdb stub. */
export function* replay(record: VmRecord): VmSequence<Replayed> {
  const replayed = yield* setUpRegisters(record);
  yield* carryOut({ do: 'detach' });
  return replayed;
}

/**
 * Makes QEMU's devices, which its migration has left as they are after a reset, what they were at the source. The VM is
 * there and stopped, and the servers have their states. Everything that was written is read back.
 */
export function* setUpRegisters(record: VmRecord): VmSequence<Replayed> {
  const places = record.devices.map((device) => ecamAddress(record.ecam, device));
  const reading = all(record.devices.map(({ config }, i) => readOwn(places[i] ?? 0n, config)));
  const [, own] = yield* both(requireSameEcam(record), reading);
  const writes = record.devices.flatMap((device, i) =>
    placed(own[i] ?? new Uint8Array(0), device, places[i] ?? 0n),
  );
  // The stub takes one after the other.
  yield* both(writeAll(writes), verify(writes.filter(({ name }) => !WITH_EVENTS.includes(name))));
  return { writes: writes.length };
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

/**
 * What of a configuration space tells which device it is, and what is set up in it; the rest is as at the source. Each word
 * that is read through QEMU may take a round trip to the device's server.
 */
function* readOwn(at: bigint, wanted: Uint8Array): VmSequence<Uint8Array> {
  const spans = setupSpans(wanted);
  const pieces = yield* readAll(
    spans.map(({ offset, length }) => ({ address: at + BigInt(offset), length })),
  );
  const own = Uint8Array.from(wanted);
  for (const [i, { offset }] of spans.entries()) own.set(pieces[i] ?? [], offset);
  return own;
}

/** A write, and whose register it is. */
interface PlacedWrite extends ReplayWrite {
  readonly address: bigint;
  readonly device: DeviceRecord;
}

function placed(own: Uint8Array, device: DeviceRecord, at: bigint): readonly PlacedWrite[] {
  const table = msixTableOf(device.config)?.address ?? 0n;
  return replayList(own, device).map((write) => {
    const base = write.to === 'table' ? table : at;
    return { ...write, device, address: base + BigInt(write.offset) };
  });
}

/** Bit 15 of both tells of an event or starts one, and is not written. */
const WITH_EVENTS = ['power management control', 'PCI Express device control'];

function* verify(writes: readonly PlacedWrite[]): VmSequence<void> {
  const found = yield* readAll(writes.map(({ address, bytes }) => ({ address, length: bytes.length })));
  for (const [i, { name, bytes, device }] of writes.entries()) {
    const there = found[i] ?? new Uint8Array(0);
    if (bytes.every((byte, at) => byte === there[at])) continue;
    const who = `the device at ${device.bus}:${device.slot}.${device.function}`;
    const values = `${hex(there)} instead of ${hex(bytes)}`;
    throw new VmError('ERR_VM_REPLAY', `${name} of ${who} is ${values} at the destination`, {
      register: name,
    });
  }
}

/** As a number: registers are little-endian. */
function hex(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes).reverse().toString('hex')}`;
}
