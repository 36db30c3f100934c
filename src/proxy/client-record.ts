import { FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import {
  Command,
  deviceGetRegionInfo,
  FEATURE_MASK,
  Feature,
  FeatureFlag,
  FeatureHead,
  features,
  RegionIndex,
  type Version,
  version,
} from '../protocol/index.ts';
import { MigrationState } from '../states/index.ts';
import { ConfigShadow } from './config-shadow.ts';
import { DmaTable } from './dma-table.ts';
import { IrqTable } from './irq-table.ts';

/** Configuration space has no more bytes than this (PCI Express). */
const MAX_CONFIGURATION = 4096;

/** A request whose success changes what is recorded. */
export interface Note {
  readonly command: number;
  readonly payload: Uint8Array;
  /** Duplicates of the fds that came with it; the note's until it is settled. */
  readonly fds: readonly number[];
}

/** Something the client was told of the device, which another back end has to say as well. */
export interface KnownInfo {
  readonly command: number;
  /** What a back end is asked. */
  readonly request: Uint8Array;
  /** What was answered, without what makes regions mappable. */
  readonly reply: Uint8Array;
}

/**
 * All that one client has set up at its back end and was told by it, so that another back end can be put in the place of
 * the first: VERSION, descriptions, DMA maps and interrupts with their fds, configuration space.
 */
export class ClientRecord {
  readonly dma: DmaTable;
  readonly irqs: IrqTable;
  readonly configuration = new ConfigShadow();
  readonly infos = new Map<string, KnownInfo>();
  /** What is proposed to a back end; null before VERSION. */
  proposal: Uint8Array | null = null;
  /** What the client was told in VERSION; null before. */
  promised: Version | null = null;
  /** What can't be put at another back end, and why; null when everything can. */
  obstacle: string | null = null;
  /** How often the client has reset the device. */
  resets = 0;
  #loggingDma = false;
  #driving = false;
  readonly #native: Native;

  constructor(native: Native) {
    this.#native = native;
    this.dma = new DmaTable(native);
    this.irqs = new IrqTable(native);
  }

  /** Why the client can't be given another back end now; null when it can. */
  get hindrance(): string | null {
    if (this.obstacle !== null) return this.obstacle;
    if (this.#loggingDma) return 'the client has DMA logging started, which would be lost';
    return this.#driving ? 'the client migrates the device itself' : null;
  }

  /** Bytes of configuration space, as the client was told; 0 when it has not asked. */
  get configurationSize(): number {
    for (const { command, reply } of this.infos.values()) {
      if (command !== Command.DEVICE_GET_REGION_INFO) continue;
      const { index, size } = deviceGetRegionInfo.reply.decode(reply);
      if (index === RegionIndex.CONFIG) return size < MAX_CONFIGURATION ? Number(size) : MAX_CONFIGURATION;
    }
    return 0;
  }

  /** Takes down a request that is on its way. */
  note(command: number, payload: Uint8Array, fds: readonly number[]): Note {
    const kept = command === Command.DMA_MAP || command === Command.DEVICE_SET_IRQS ? fds : [];
    return { command, payload: payload.slice(), fds: kept.map((fd) => this.#native.dup(fd)) };
  }

  /** The request was carried out; `reply` is the payload of its answer. */
  commit(note: Note, reply: Uint8Array): void {
    try {
      this.#commit(note, reply);
    } catch (error) {
      if (!(error instanceof FerryError)) throw error;
      this.drop(note);
      this.obstacle = `the client has set up something that can't be repeated: ${error.message}`;
    }
  }

  /** The request was refused, or will never be answered. */
  drop({ fds }: Note): void {
    for (const fd of fds) this.#native.close(fd);
  }

  /** The client was told this of its device. */
  learn(info: KnownInfo): void {
    this.infos.set(`${info.command} ${Buffer.from(info.request).toString('hex')}`, info);
  }

  /** Gives back every fd. */
  close(): void {
    this.dma.clear();
    this.irqs.clear();
  }

  #commit({ command, payload, fds }: Note, reply: Uint8Array): void {
    switch (command) {
      case Command.VERSION:
        this.proposal = payload;
        this.promised = version.reply.decode(reply);
        break;
      case Command.DMA_MAP:
        this.dma.map(payload, fds);
        break;
      case Command.DMA_UNMAP:
        this.dma.unmap(payload);
        break;
      case Command.DEVICE_SET_IRQS:
        this.irqs.set(payload, fds);
        break;
      case Command.DEVICE_FEATURE:
        this.#featureSet(payload);
        break;
      case Command.DEVICE_RESET:
        this.resets += 1;
        this.#driving = false;
        this.#loggingDma = false;
        break;
      case Command.DEVICE_GET_INFO:
      case Command.DEVICE_GET_IRQ_INFO:
        this.learn({ command, request: payload, reply: reply.slice() });
    }
  }

  #featureSet(payload: Uint8Array): void {
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const { flags } = FeatureHead.read(view, 0);
    if ((flags & FeatureFlag.SET) === 0 || (flags & FeatureFlag.PROBE) !== 0) return;
    const data = payload.subarray(FeatureHead.size);
    const feature = flags & FEATURE_MASK;
    if (feature === Feature.DMA_LOGGING_START) this.#loggingDma = true;
    if (feature === Feature.DMA_LOGGING_STOP) this.#loggingDma = false;
    if (feature !== Feature.MIG_DEVICE_STATE) return;
    const { deviceState } = features.MIG_DEVICE_STATE.set.request.decode(data);
    this.#driving = deviceState !== MigrationState.RUNNING;
  }
}
