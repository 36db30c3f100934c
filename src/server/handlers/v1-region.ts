import {
  deviceGetRegionInfo,
  echoRegionAccess,
  littleEndian,
  RegionAccess,
  RegionInfo,
  RegionInfoFlag,
  readU64AsNumber,
  regionWrite,
  V1_REGION_SUBTYPE,
  V1_REGION_TYPE,
  V1MigrationInfo,
} from '../../protocol/index.ts';
import type { IncomingMessage } from '../../transport/index.ts';
import type { ServedConnection } from '../served-connection.ts';
import { ServerError } from '../server-error.ts';
import { V1_DATA_OFFSET } from '../v1/data-section.ts';
import { V1_REGION_INDEX, type V1Interface } from '../v1/v1-interface.ts';
import { answer, answerWhenDone, requireDriver } from './handler.ts';

const AT = RegionAccess.at;
const FIXED = RegionAccess.size;

/** The migration region, if this is its index and the server has one. */
export function v1RegionAt(
  { server }: ServedConnection,
  index: number,
): V1Interface<ServedConnection> | null {
  return index === V1_REGION_INDEX ? server.v1 : null;
}

/** Whether an access is to the migration region. The caller has checked that the fixed part is there. */
export function isV1Access(served: ServedConnection, { view, start }: IncomingMessage): boolean {
  return served.server.v1 !== null && view.getUint32(start + AT.region, littleEndian) === V1_REGION_INDEX;
}

/** DEVICE_GET_REGION_INFO of the migration region. Both sockets may map its data section, and nothing else. */
export function answerV1Info(
  served: ServedConnection,
  message: IncomingMessage,
  { section }: V1Interface<ServedConnection>,
  argsz: number,
): void {
  const takesFds = (served.agreed?.send.maxMsgFds ?? 0) > 0;
  const areas = [{ offset: BigInt(V1_DATA_OFFSET), size: BigInt(section.bytes.length) }];
  const value = {
    argsz: 0,
    flags:
      RegionInfoFlag.READ | RegionInfoFlag.WRITE | RegionInfoFlag.CAPS | (takesFds ? RegionInfoFlag.MMAP : 0),
    index: V1_REGION_INDEX,
    size: BigInt(section.regionSize),
    offset: 0n,
    capabilities: [
      { kind: 'type' as const, type: V1_REGION_TYPE, subtype: V1_REGION_SUBTYPE },
      ...(takesFds ? [{ kind: 'sparse-mmap' as const, areas }] : []),
    ],
  };
  const { length } = deviceGetRegionInfo.reply.encode(value);
  const whole = deviceGetRegionInfo.reply.encode({ ...value, argsz: length });
  if (length <= argsz) return answer(served, message, whole, takesFds ? [section.fd] : []);
  const { capabilities, ...fixed } = value;
  const bytes = new Uint8Array(RegionInfo.size);
  const flags = fixed.flags & ~RegionInfoFlag.CAPS;
  RegionInfo.write(new DataView(bytes.buffer), 0, { ...fixed, flags, argsz: length, capOffset: 0 });
  answer(served, message, bytes);
}

/** REGION_READ of the migration region, in any state. */
export function handleV1Read(served: ServedConnection, message: IncomingMessage): true {
  const { offset, count, region } = accessOf(served, message);
  // Whoever wants to know the state may; all else serves to drive the migration.
  if (offset !== V1MigrationInfo.at.deviceState) requireDriver(served);
  const data = new Uint8Array(count);
  region.migration.read(offset, data, 0, count, served);
  const { connection } = served;
  const at = connection.reply(message, FIXED + count);
  if (at < 0) return true;
  echoRegionAccess(message.view, message.start, connection.out.view, at);
  connection.out.bytes.set(data, at + FIXED);
  return true;
}

/** REGION_WRITE of the migration region; that of device_state is answered when the device has arrived. */
export function handleV1Write(served: ServedConnection, message: IncomingMessage): true {
  const { offset, count, region } = accessOf(served, message);
  requireDriver(served);
  const reply = regionWrite.reply.encode({ offset: BigInt(offset), region: V1_REGION_INDEX, count });
  const work = region.migration.write(offset, message.bytes, message.start + FIXED, count, served);
  answerWhenDone(served, message, work, (to) => answer(served, to, reply));
  return true;
}

interface V1Access {
  readonly offset: number;
  readonly count: number;
  readonly region: V1Interface<ServedConnection>;
}

/** The access, inside of the region and in what may be asked for at once. The caller has checked the payload's size. */
function accessOf(served: ServedConnection, { view, start }: IncomingMessage): V1Access {
  const region = served.server.v1;
  if (region === null) throw new ServerError('ERR_BAD_INDEX', 'there is no migration region');
  const count = view.getUint32(start + AT.count, littleEndian);
  const offset = readU64AsNumber(view, start + AT.offset);
  const size = region.section.regionSize;
  if (count > served.maxTransfer) {
    throw new ServerError('ERR_TOO_LONG', `${count} bytes are more than max_data_xfer_size`, { count });
  }
  // An offset of -1 stands for one beyond 2^53, which no region reaches.
  if (offset < 0 || offset > size || count > size - offset) {
    throw new ServerError('ERR_BAD_RANGE', `the migration region has ${size} bytes`, { offset, count });
  }
  return { offset, count, region };
}
