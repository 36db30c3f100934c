import { type Capabilities, ConfigurationMode } from './capabilities.ts';
import {
  DEFAULT_MAX_DATA_XFER_SIZE,
  DEFAULT_MAX_DMA_MAPS,
  DEFAULT_MAX_MSG_FDS,
  DEFAULT_PGSIZES,
  MAX_BITMAP_SIZE,
  MAX_DATA_XFER_SIZE,
  MAX_FDS_PER_MESSAGE,
  OUR_MAX_MSG_FDS,
} from './limits.ts';
import { ProtocolError } from './protocol-error.ts';
import { PROTOCOL_MAJOR, PROTOCOL_MINOR, type Version } from './version.ts';

/** What one side may ask of the other. */
export interface DirectionLimits {
  /** Largest `count` or `size` in a request of a data message, of reads and of writes, bytes. */
  readonly maxDataXferSize: number;
  /** Most descriptors in one message. */
  readonly maxMsgFds: number;
}

/** What holds between two peers after VERSION. */
export interface Agreement {
  readonly major: number;
  readonly minor: number;
  /** Bounds the requests that we send: the peer's limits, cut to what we are ready to honour. */
  readonly send: DirectionLimits;
  /** Bounds the requests of the peer: the limits that we told it, or the defaults where we told none. */
  readonly receive: DirectionLimits;
  /** DMA windows valid at once. */
  readonly maxDmaMaps: number;
  /** Page sizes of DMA maps, or-ed together. */
  readonly pgsizes: number;
  /** Commands of the server travel on a second socket. */
  readonly twinSocket: boolean;
  /** REGION_WRITE_MULTI may be sent. */
  readonly writeMultiple: boolean;
  /** FERRY_PRECOPY_INFO may be sent. */
  readonly precopyInfo: boolean;
  /** FERRY_INSPECT may be sent. */
  readonly inspect: boolean;
  /** FERRY_CLAIM may be sent. */
  readonly claim: boolean;
  /** FERRY_RECONNECTION may be sent. */
  readonly reconnection: boolean;
  /** FERRY_SWITCHOVER may be sent. */
  readonly switchover: boolean;
  /** FERRY_HANDOVER may be sent. */
  readonly handover: boolean;
  /** How the configuration space has to travel: a ConfigurationMode, or one of a later version; null: not agreed. */
  readonly configuration: number | null;
}

/** Every power of two from 4 KiB to 1 GiB. */
const ANY_PAGE_SIZE = 0x7fff_f000;

/** What Ferry supports unless told otherwise, on either end. */
export const OUR_CAPABILITIES: Capabilities = {
  maxMsgFds: OUR_MAX_MSG_FDS,
  maxDataXferSize: DEFAULT_MAX_DATA_XFER_SIZE,
  maxDmaMaps: DEFAULT_MAX_DMA_MAPS,
  pgsizes: ANY_PAGE_SIZE,
  twinSocket: { supported: true },
  writeMultiple: true,
  migration: { pgsize: DEFAULT_PGSIZES, maxBitmapSize: MAX_BITMAP_SIZE },
  ferry: {
    precopyInfo: true,
    inspect: true,
    claim: true,
    reconnection: true,
    switchover: true,
    handover: true,
    configuration: ConfigurationMode.IN_STATE,
  },
};

/**
 * The server's half of VERSION: the reply to a proposal, and what holds afterwards. The reply has the minor version
 * that both know and a subset of the capabilities proposed, as the text demands, which also keeps it shorter than
 * QEMU's proposal, as QEMU demands. The reply's `twinSocket.fdIndex` is 0: the caller sends the socket as the first
 * descriptor. Throws ProtocolError EINVAL (`ERR_PROTOCOL_VERSION`) when the major version or the page sizes differ.
 */
export function negotiate(proposal: Version, ours: Capabilities): { reply: Version; agreed: Agreement } {
  const { major, minor } = proposal;
  if (major !== PROTOCOL_MAJOR) disagree(`major version ${PROTOCOL_MAJOR} is spoken here, not ${major}`);
  const capabilities = proposal.capabilities === null ? null : common(proposal.capabilities, ours);
  const reply: Version = { major, minor: Math.min(minor, PROTOCOL_MINOR), capabilities };
  return {
    reply,
    agreed: agreement(reply, capabilities ?? {}, proposal.capabilities ?? {}, reply.capabilities ?? {}),
  };
}

/**
 * The client's half: what holds after a reply. `fds` is the number of descriptors that came with it. Throws
 * ProtocolError EINVAL (`ERR_PROTOCOL_VERSION`) when the reply contradicts the proposal or itself; the connection is
 * then of no use. Capabilities that were not proposed are ignored, since libvfio-user always names its own.
 */
export function acceptReply(proposal: Version, reply: Version, fds: number): Agreement {
  if (reply.major !== proposal.major)
    disagree(`the server speaks major version ${reply.major}, not ${proposal.major}`);
  if (reply.minor > proposal.minor) disagree(`the server answered minor ${reply.minor} to ${proposal.minor}`);
  const proposed = proposal.capabilities ?? {};
  const replied = reply.capabilities ?? {};
  checkTwinSocket(proposed, replied, fds);
  return agreement(reply, proposed, replied, replied);
}

/** What both name, with the smaller of the two numbers where they limit both sides. */
function common(proposed: Capabilities, ours: Capabilities): Capabilities {
  const { maxMsgFds, maxDataXferSize, migration, ferry } = ours;
  return named({
    maxMsgFds: both(proposed.maxMsgFds, maxMsgFds, (_, our) => our),
    maxDataXferSize: both(proposed.maxDataXferSize, maxDataXferSize, (_, our) =>
      Math.min(our, MAX_DATA_XFER_SIZE),
    ),
    maxDmaMaps: both(proposed.maxDmaMaps, ours.maxDmaMaps, Math.min),
    pgsizes: both(proposed.pgsizes, ours.pgsizes, commonPageSizes),
    twinSocket: yes(proposed.twinSocket?.supported, ours.twinSocket?.supported)
      ? { supported: true, fdIndex: 0 }
      : undefined,
    writeMultiple: yes(proposed.writeMultiple, ours.writeMultiple) || undefined,
    migration: both(proposed.migration, migration, (theirs, our) =>
      named({
        pgsize: both(theirs.pgsize, our.pgsize, (_, size) => size),
        maxBitmapSize: both(theirs.maxBitmapSize, our.maxBitmapSize, Math.min),
      }),
    ),
    ferry: both(proposed.ferry, ferry, (theirs, our) =>
      named({
        precopyInfo: yes(theirs.precopyInfo, our.precopyInfo) || undefined,
        inspect: yes(theirs.inspect, our.inspect) || undefined,
        claim: yes(theirs.claim, our.claim) || undefined,
        reconnection: yes(theirs.reconnection, our.reconnection) || undefined,
        switchover: yes(theirs.switchover, our.switchover) || undefined,
        handover: yes(theirs.handover, our.handover) || undefined,
        configuration: both(theirs.configuration, our.configuration, (_, mode) => mode),
      }),
    ),
  });
}

/** What follows from what we told the peer, what it told us, and what both agreed to (the reply). */
function agreement(reply: Version, told: Capabilities, heard: Capabilities, agreed: Capabilities): Agreement {
  return {
    major: reply.major,
    minor: reply.minor,
    send: limits(heard),
    receive: limits(told),
    maxDmaMaps: Math.min(told.maxDmaMaps ?? DEFAULT_MAX_DMA_MAPS, heard.maxDmaMaps ?? DEFAULT_MAX_DMA_MAPS),
    pgsizes: commonPageSizes(told.pgsizes ?? DEFAULT_PGSIZES, heard.pgsizes ?? DEFAULT_PGSIZES),
    twinSocket: agreed.twinSocket?.supported === true,
    writeMultiple: yes(agreed.writeMultiple, told.writeMultiple),
    precopyInfo: yes(agreed.ferry?.precopyInfo, told.ferry?.precopyInfo),
    inspect: yes(agreed.ferry?.inspect, told.ferry?.inspect),
    claim: yes(agreed.ferry?.claim, told.ferry?.claim),
    reconnection: yes(agreed.ferry?.reconnection, told.ferry?.reconnection),
    switchover: yes(agreed.ferry?.switchover, told.ferry?.switchover),
    handover: yes(agreed.ferry?.handover, told.ferry?.handover),
    configuration: told.ferry?.configuration === undefined ? null : (agreed.ferry?.configuration ?? null),
  };
}

function limits(capabilities: Capabilities): DirectionLimits {
  const { maxDataXferSize = DEFAULT_MAX_DATA_XFER_SIZE, maxMsgFds = DEFAULT_MAX_MSG_FDS } = capabilities;
  return {
    maxDataXferSize: Math.min(maxDataXferSize, MAX_DATA_XFER_SIZE),
    maxMsgFds: Math.min(maxMsgFds, MAX_FDS_PER_MESSAGE),
  };
}

/** The text: a reply that enables the twin socket without a usable descriptor must end the connection. */
function checkTwinSocket(proposed: Capabilities, replied: Capabilities, fds: number): void {
  const { supported = false, fdIndex } = replied.twinSocket ?? {};
  if (!supported) return;
  if (proposed.twinSocket?.supported !== true)
    disagree('the server enabled a twin socket that was not proposed');
  if (fdIndex === undefined || fdIndex >= fds) {
    disagree(`the server's twin socket is descriptor ${fdIndex ?? 'unknown'} of ${fds}`);
  }
}

function commonPageSizes(a: number, b: number): number {
  const sizes = Number(BigInt(a) & BigInt(b));
  if (sizes === 0) disagree(`no page size in common: 0x${a.toString(16)} and 0x${b.toString(16)}`);
  return sizes;
}

function yes(a: boolean | undefined, b: boolean | undefined): boolean {
  return a === true && b === true;
}

function both<T, R>(a: T | undefined, b: T | undefined, join: (a: T, b: T) => R): R | undefined {
  return a === undefined || b === undefined ? undefined : join(a, b);
}

/** Drops the members that are undefined: a capability is either named or absent. */
function named<T extends object>(all: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  const present: { [K in keyof T]?: Exclude<T[K], undefined> } = {};
  for (const key in all) {
    const value = all[key];
    // The test has removed undefined, which TypeScript does not carry over for a generic key.
    if (value !== undefined) present[key] = value as Exclude<T[typeof key], undefined>;
  }
  return present;
}

function disagree(what: string): never {
  throw new ProtocolError(`VERSION: ${what}`, {
    code: 'ERR_PROTOCOL_VERSION',
    context: { message: 'VERSION' },
  });
}
