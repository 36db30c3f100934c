import type { Native } from '../native/index.ts';
import { Command, deviceGetRegionInfo, RegionInfoFlag, type ValueOf } from '../protocol/index.ts';
import type { RegionArea, RegionInfo, RegionKind } from './descriptions.ts';
import { requireSameIndex } from './device-info.ts';
import type { Operation } from './operation.ts';
import type { TransferLimits } from './transfer-limits.ts';

/** A region and the file of its memory, which is the caller's. */
export interface RegionQuery {
  readonly info: RegionInfo;
  readonly fd: number | null;
}

/** Room for a capability chain with 60 areas or so, which saves most regions the second question. */
const FIRST_ARGSZ = 1024;

/** DEVICE_GET_REGION_INFO, asked again with more room when the server says that its capabilities need it. */
export function* queryRegion(native: Native, limits: TransferLimits, index: number): Operation<RegionQuery> {
  const first = yield* ask(native, index, FIRST_ARGSZ);
  if (first.reply.argsz <= FIRST_ARGSZ) return { info: interpret(first.reply), fd: first.fd };
  if (first.fd !== null) native.close(first.fd);
  const second = yield* ask(native, index, Math.min(first.reply.argsz, limits.reply));
  return { info: interpret(second.reply), fd: second.fd };
}

/** What is known of a region, without its memory. */
export function* regionInfo(native: Native, limits: TransferLimits, index: number): Operation<RegionInfo> {
  const { info, fd } = yield* queryRegion(native, limits, index);
  if (fd !== null) native.close(fd);
  return info;
}

type Reply = ValueOf<typeof deviceGetRegionInfo.reply>;

function* ask(native: Native, index: number, argsz: number): Operation<{ reply: Reply; fd: number | null }> {
  const request = { argsz, flags: 0, index, capOffset: 0, size: 0n, offset: 0n };
  const payload = deviceGetRegionInfo.request.encode(request);
  const message = yield { command: Command.DEVICE_GET_REGION_INFO, payload };
  const reply = deviceGetRegionInfo.reply.decode(message.payload());
  requireSameIndex('DEVICE_GET_REGION_INFO', index, reply.index);
  const [fd = null, ...more] = message.takeFds();
  for (const each of more) native.close(each);
  return { reply, fd };
}

function interpret(reply: Reply): RegionInfo {
  const mappable = (reply.flags & RegionInfoFlag.MMAP) !== 0;
  return {
    index: reply.index,
    size: reply.size,
    fileOffset: reply.offset,
    readable: (reply.flags & RegionInfoFlag.READ) !== 0,
    writable: (reply.flags & RegionInfoFlag.WRITE) !== 0,
    mappable,
    areas: mappable ? areasOf(reply) : [],
    ...kindOf(reply),
  };
}

function kindOf({ capabilities }: Reply): { readonly kind?: RegionKind } {
  for (const capability of capabilities) {
    if (capability.kind === 'type') return { kind: { type: capability.type, subtype: capability.subtype } };
  }
  return {};
}

/** The sparse areas, or all of the region. */
function areasOf(reply: Reply): readonly RegionArea[] {
  for (const capability of reply.capabilities) {
    if (capability.kind === 'sparse-mmap') return capability.areas;
  }
  return [{ offset: 0n, size: reply.size }];
}
