import type { Native } from '../native/index.ts';
import {
  Command,
  deviceGetRegionIoFds,
  IoFdType,
  type IoSubRegion,
  NO_FD_INDEX,
  ProtocolError,
} from '../protocol/index.ts';
import { DeviceDoorbell, type DoorbellShadow, hasSoundShadow } from './device-doorbell.ts';
import { requireSameIndex } from './device-info.ts';
import type { Operation } from './operation.ts';
import { ShadowStore } from './shadow-store.ts';
import type { TransferLimits } from './transfer-limits.ts';

/** The doorbells of a region, in the server's order. Closed with the client. */
export interface RegionDoorbells {
  readonly index: number;
  readonly doorbells: readonly DeviceDoorbell[];
  /** Closes their descriptors. Idempotent. */
  close(): void;
}

interface Answer {
  readonly argsz: number;
  readonly entries: readonly IoSubRegion[] | null;
  readonly fds: readonly number[];
}

/** Room for 85 doorbells, which saves most regions the second question. */
const FIRST_ARGSZ = 4096;

/** DEVICE_GET_REGION_IO_FDS, asked again with more room when the server says that it takes that. */
export function* openDoorbells(
  native: Native,
  limits: TransferLimits,
  index: number,
): Operation<RegionDoorbells> {
  let answer = yield* ask(index, FIRST_ARGSZ);
  if (answer.entries === null) {
    closeAll(native, answer.fds);
    answer = yield* ask(index, Math.min(answer.argsz, limits.reply));
  }
  return interpret(native, index, answer);
}

function* ask(index: number, argsz: number): Operation<Answer> {
  const payload = deviceGetRegionIoFds.request.encode({ argsz, flags: 0, index, count: 0 });
  const message = yield { command: Command.DEVICE_GET_REGION_IO_FDS, payload };
  const reply = deviceGetRegionIoFds.reply.decode(message.payload(), message.fds.length);
  requireSameIndex('DEVICE_GET_REGION_IO_FDS', index, reply.index);
  return { argsz: reply.argsz, entries: reply.subRegions, fds: message.takeFds() };
}

function interpret(native: Native, index: number, { entries, fds }: Answer): RegionDoorbells {
  const stores = new Map<number, ShadowStore>();
  let open = true;
  const close = (): void => {
    if (!open) return;
    open = false;
    for (const store of stores.values()) store.close();
    closeAll(native, fds);
  };
  try {
    mapShadows(native, entries ?? [], fds, stores);
    const doorbells = (entries ?? []).map((entry) => {
      const eventfd = entry.fdIndex === NO_FD_INDEX ? null : fdAt(fds, entry.fdIndex);
      const shadow = shadowOf(entry, fds, stores);
      return new DeviceDoorbell(entry, { native, eventfd, shadow, closed: () => !open });
    });
    return { index, doorbells, close };
  } catch (error) {
    close();
    throw error;
  }
}

/** Maps each descriptor that values are left in, once. */
function mapShadows(
  native: Native,
  entries: readonly IoSubRegion[],
  fds: readonly number[],
  stores: Map<number, ShadowStore>,
): void {
  const shadows = entries.filter(({ type }) => type === IoFdType.SHADOW);
  if (!shadows.every(hasSoundShadow)) throw broken('has its value where it can not be');
  for (const at of new Set(shadows.map(({ shadowMemFdIndex }) => shadowMemFdIndex))) {
    const offsets = shadows.filter(({ shadowMemFdIndex }) => shadowMemFdIndex === at);
    const store = new ShadowStore(
      native,
      fdAt(fds, at),
      offsets.map(({ shadowOffset }) => shadowOffset),
    );
    stores.set(at, store);
  }
}

function shadowOf(
  { type, shadowMemFdIndex, shadowOffset }: IoSubRegion,
  fds: readonly number[],
  stores: ReadonlyMap<number, ShadowStore>,
): DoorbellShadow | null {
  const store = type === IoFdType.SHADOW ? stores.get(shadowMemFdIndex) : undefined;
  return store === undefined ? null : { fd: fdAt(fds, shadowMemFdIndex), offset: shadowOffset, store };
}

function fdAt(fds: readonly number[], index: number): number {
  const fd = fds[index];
  if (fd === undefined) throw broken(`names descriptor ${index}, and ${fds.length} came`);
  return fd;
}

function broken(what: string): ProtocolError {
  return new ProtocolError(`DEVICE_GET_REGION_IO_FDS: a sub-region ${what}`);
}

function closeAll(native: Native, fds: readonly number[]): void {
  for (const fd of fds) native.close(fd);
}
