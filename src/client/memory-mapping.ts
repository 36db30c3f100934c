import {
  bitmapSize,
  Command,
  DmaMap,
  DmaMapFlag,
  DmaUnmap,
  DmaUnmapBitmap,
  DmaUnmapFlag,
  dmaMap,
  dmaUnmap,
  ProtocolError,
} from '../protocol/index.ts';
import { ClientError } from './client-error.ts';
import type { GuestRegion } from './guest-memory.ts';
import type { MappedMemory } from './mapped-memory.ts';
import type { Operation } from './operation.ts';
import type { TransferLimits } from './transfer-limits.ts';

const { READ, WRITE, FILE_IO } = DmaMapFlag;

/** DMA_MAP. From the request on DMA messages for the region are answered, unless the server refuses it. */
export function* mapMemory(
  limits: TransferLimits,
  mapped: MappedMemory,
  region: GuestRegion,
): Operation<void> {
  requireFree(mapped, region);
  const fds = region.fd === null ? [] : [region.fd];
  if (fds.length > limits.fds)
    throw new ClientError('ERR_NOT_NEGOTIATED', 'the server takes no file descriptors');
  const flags =
    (region.readable ? READ : 0) | (region.writable ? WRITE : 0) | (region.access === 'file' ? FILE_IO : 0);
  const { iova: address, size } = region;
  const payload = dmaMap.request.encode({ argsz: DmaMap.size, flags, offset: 0n, address, size }, fds.length);
  mapped.add(region);
  try {
    yield { command: Command.DMA_MAP, payload, fds };
  } catch (error) {
    mapped.remove(region);
    throw error;
  }
}

/** DMA_UNMAP, with the dirty bitmap if `dirtyPageSize` says so. DMA messages are answered until the server agrees. */
export function* unmapMemory(
  limits: TransferLimits,
  mapped: MappedMemory,
  region: GuestRegion,
  dirtyPageSize: bigint | undefined,
): Operation<Uint8Array | null> {
  const { iova: address, size } = region;
  const bitmap =
    dirtyPageSize === undefined ? null : { pgsize: dirtyPageSize, size: bitmapSize(size, dirtyPageSize) };
  const fixed = DmaUnmap.size + (bitmap === null ? 0 : DmaUnmapBitmap.size);
  const argsz = fixed + Number(bitmap?.size ?? 0n);
  requireBitmapFits(argsz, limits);
  const flags = bitmap === null ? 0 : DmaUnmapFlag.GET_DIRTY_BITMAP;
  const payload = dmaUnmap.request.encode({ argsz, flags, address, size, bitmap });
  const message = yield { command: Command.DMA_UNMAP, payload };
  mapped.remove(region);
  if (bitmap === null) return null;
  const reply = dmaUnmap.reply.decode(message.payload());
  if (reply.bitmap?.size === bitmap.size) return reply.bitmap.data.slice();
  throw new ProtocolError('DMA_UNMAP reply: no dirty bitmap of the size that was asked for', {
    context: { message: 'DMA_UNMAP reply', field: 'bitmap', asked: bitmap.size },
  });
}

/** DMA_UNMAP of every region. */
export function* unmapAll(mapped: MappedMemory): Operation<void> {
  const request = { argsz: DmaUnmap.size, flags: DmaUnmapFlag.ALL, address: 0n, size: 0n, bitmap: null };
  yield { command: Command.DMA_UNMAP, payload: dmaUnmap.request.encode(request) };
  mapped.clear();
}

/** Refuses to ask for a bitmap that no reply can carry. */
export function requireBitmapFits(argsz: number, limits: TransferLimits): void {
  if (argsz <= limits.reply) return;
  const message = `a dirty bitmap of ${argsz} bytes is too long for a reply: ask for a smaller range`;
  throw new ClientError('ERR_CLIENT_ARGUMENT', message, { size: argsz, limit: limits.reply });
}

function requireFree(mapped: MappedMemory, region: GuestRegion): void {
  const end = region.iova + region.size;
  const other = mapped.regions.find((each) => each.iova < end && region.iova < each.iova + each.size);
  if (other === undefined) return;
  const context = { iova: region.iova, size: region.size, mapped: other.iova };
  throw new ClientError(
    'ERR_CLIENT_ARGUMENT',
    'the region is mapped already, or overlaps one that is',
    context,
  );
}
