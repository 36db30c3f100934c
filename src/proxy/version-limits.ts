import {
  type Capabilities,
  DEFAULT_MAX_DATA_XFER_SIZE,
  DEFAULT_MAX_DMA_MAPS,
  DEFAULT_MAX_MSG_FDS,
  DEFAULT_PGSIZES,
  type Version,
  version,
} from '../protocol/index.ts';
import { MAX_RELAYED_XFER_SIZE } from './link.ts';

/**
 * The payload of the VERSION that a back end gets for the client's: without a second socket, which can't be moved, and
 * with no larger messages than are relayed.
 */
export function proposalFor(payload: Uint8Array): Uint8Array {
  const { capabilities, ...head } = version.request.decode(payload);
  if (capabilities === null || (capabilities.twinSocket === undefined && !isTooLarge(capabilities)))
    return payload;
  const { twinSocket: _, ...others } = capabilities;
  return version.request.encode({ ...head, capabilities: limited(others) });
}

/** The payload of the answer to VERSION that the client gets for the back end's. */
export function answerFor(payload: Uint8Array): Uint8Array {
  const { capabilities, ...head } = version.reply.decode(payload);
  if (capabilities === null || !isTooLarge(capabilities)) return payload;
  return version.reply.encode({ ...head, capabilities: limited(capabilities) });
}

function isTooLarge({ maxDataXferSize }: Capabilities): boolean {
  return maxDataXferSize !== undefined && maxDataXferSize > MAX_RELAYED_XFER_SIZE;
}

function limited(capabilities: Capabilities): Capabilities {
  return isTooLarge(capabilities)
    ? { ...capabilities, maxDataXferSize: MAX_RELAYED_XFER_SIZE }
    : capabilities;
}

/** Why a back end that has answered `fresh` can't take the place of one that has answered `promised`; null: it can. */
export function brokenPromise(promised: Version, fresh: Version): string | null {
  if (promised.major !== fresh.major || promised.minor !== fresh.minor) {
    return `it speaks version ${fresh.major}.${fresh.minor}, and the client was told ${promised.major}.${promised.minor}`;
  }
  const [told, now] = [limitsOf(promised), limitsOf(fresh)];
  for (const [name, value] of told.numbers) {
    const given = now.numbers.get(name) ?? 0;
    if (given < value) return `${name} is ${given}, and the client was told ${value}`;
  }
  const lost = told.pgsizes & ~now.pgsizes;
  if (lost !== 0n)
    return `it does not have the page sizes 0x${lost.toString(16)}, of which the client was told`;
  const missing = [...told.abilities].find((name) => !now.abilities.has(name));
  return missing === undefined ? null : `it does not have ${missing}, which the client was told`;
}

function limitsOf({ capabilities }: Version) {
  const { maxMsgFds, maxDataXferSize, maxDmaMaps, pgsizes, writeMultiple, migration, ferry } =
    capabilities ?? {};
  return {
    numbers: new Map([
      ['max_msg_fds', maxMsgFds ?? DEFAULT_MAX_MSG_FDS],
      ['max_data_xfer_size', maxDataXferSize ?? DEFAULT_MAX_DATA_XFER_SIZE],
      ['max_dma_maps', maxDmaMaps ?? DEFAULT_MAX_DMA_MAPS],
      ['max_bitmap_size', migration?.maxBitmapSize ?? 0],
    ]),
    pgsizes: BigInt(pgsizes ?? DEFAULT_PGSIZES),
    abilities: new Set([
      ...(writeMultiple === true ? ['write_multiple'] : []),
      ...Object.entries(ferry ?? {}).flatMap(([name, value]) => (value === true ? [`ferry.${name}`] : [])),
    ]),
  };
}
