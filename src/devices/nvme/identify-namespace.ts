import { layout, raw, uint, wide } from './layout.ts';

/** Bytes of everything that Identify returns. */
const IDENTIFY_SIZE = 4096;

/** Identify Namespace (NVM Express 1.4, figure 245). */
export const IDENTIFY_NAMESPACE = layout(IDENTIFY_SIZE, {
  NSZE: wide(0, 8),
  NCAP: wide(8, 8),
  NUSE: wide(16, 8),
  NSFEAT: uint(24, 1),
  NLBAF: uint(25, 1),
  FLBAS: uint(26, 1),
  DLFEAT: uint(33, 1),
  NGUID: raw(104, 16),
  /** LBA format 0: the power of two of a block's bytes is in bits 16 to 23. */
  LBAF0: uint(128, 4),
});

/** Blocks read as zeros when they are deallocated, also by Write Zeroes (DLFEAT). */
const ZEROS_WHEN_DEALLOCATED = 0x9;

/** What is to be said of a namespace. */
export interface NamespaceFacts {
  readonly blocks: number;
  readonly blockSize: number;
  readonly canDiscard: boolean;
  /** 16 bytes that nobody else has. */
  readonly uuid: Uint8Array;
}

/** The structure that Identify returns for the namespace. */
export function identifyNamespace({ blocks, blockSize, canDiscard, uuid }: NamespaceFacts): Uint8Array {
  const size = BigInt(blocks);
  return IDENTIFY_NAMESPACE.encode({
    NSZE: size,
    NCAP: size,
    NUSE: size,
    DLFEAT: canDiscard ? ZEROS_WHEN_DEALLOCATED : 0,
    NGUID: uuid,
    LBAF0: Math.log2(blockSize) << 16,
  });
}

/** A list of namespace ids, each 32 bits. */
export function namespaceList(ids: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(IDENTIFY_SIZE);
  for (const [i, id] of ids.entries()) uint(4 * i, 4).put(bytes, id);
  return bytes;
}

/** A namespace identification descriptor (figure 248). */
const DESCRIPTOR = layout(IDENTIFY_SIZE, { NIDT: uint(0, 1), NIDL: uint(1, 1), NID: raw(4, 16) });
const UUID_DESCRIPTOR = 3;

/** The descriptors of a namespace: its UUID. */
export function namespaceDescriptors(uuid: Uint8Array): Uint8Array {
  return DESCRIPTOR.encode({ NIDT: UUID_DESCRIPTOR, NIDL: uuid.length, NID: uuid });
}
