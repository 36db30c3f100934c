import { FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import {
  Command,
  deviceGetRegionInfo,
  littleEndian,
  RegionAccess,
  RegionIndex,
  readU64AsNumber,
} from '../protocol/index.ts';
import type { IncomingMessage } from '../transport/index.ts';
import { ClientRecord, type Note } from './client-record.ts';
import { isMappable, noIoFds, REGION_INFO_ARGSZ, wholeInfoRequest, withoutMapping } from './region-infos.ts';
import { answerFor, proposalFor } from './version-limits.ts';

/** Commands whose requests are taken down, or changed on their way. */
const NOTED: ReadonlySet<number> = new Set<number>([
  Command.VERSION,
  Command.DMA_MAP,
  Command.DMA_UNMAP,
  Command.DEVICE_GET_INFO,
  Command.DEVICE_GET_REGION_INFO,
  Command.DEVICE_GET_REGION_IO_FDS,
  Command.DEVICE_GET_IRQ_INFO,
  Command.DEVICE_SET_IRQS,
  Command.DEVICE_RESET,
  Command.DEVICE_FEATURE,
]);

/** Recorded in full, so that they can be answered without a back end: the next one is told. */
const RECORDED: ReadonlySet<number> = new Set<number>([
  Command.DMA_MAP,
  Command.DMA_UNMAP,
  Command.DEVICE_SET_IRQS,
]);

const AT = RegionAccess.at;
const NOTHING = new Uint8Array(0);
/** The fixed part of DMA_UNMAP, which its answer repeats. */
const UNMAP_SIZE = 24;

/** Watches what a client asks and is answered, keeps the record of it, and says what is changed on the way. */
export class Observer {
  readonly record: ClientRecord;
  readonly #mmap: boolean;
  /** By message id: requests that have not been answered. */
  readonly #notes = new Map<number, Note>();

  /** `mmap`: regions stay mappable, which rules out another back end. */
  constructor(native: Native, mmap: boolean) {
    this.record = new ClientRecord(native);
    this.#mmap = mmap;
  }

  /** A request is on its way to a back end; returns the payload that it is sent with instead, or null. */
  request(message: IncomingMessage): Uint8Array | null {
    if (message.command === Command.REGION_WRITE) this.#configuration(message);
    else if (NOTED.has(message.command)) return this.#note(message);
    return null;
  }

  /** The payload of an answer that no back end is needed for, or null. */
  answer(message: IncomingMessage): Uint8Array | null {
    if (message.command !== Command.DEVICE_GET_REGION_IO_FDS || this.#mmap) return null;
    return attempt(() => noIoFds(message.payload()));
  }

  /** A reply is on its way to the client; returns the payload that it is sent with instead, or null. */
  reply(message: IncomingMessage): Uint8Array | null {
    if (message.command === Command.REGION_READ && !message.failed) this.#configuration(message);
    if (this.#notes.size === 0) return null;
    const note = this.#notes.get(message.id);
    if (note === undefined || note.command !== message.command) return null;
    this.#notes.delete(message.id);
    if (message.failed) {
      this.record.drop(note);
      return null;
    }
    if (note.command === Command.DEVICE_GET_REGION_INFO) return this.#regionInfo(note, message);
    if (note.command === Command.DEVICE_GET_REGION_IO_FDS && message.fds.length > 0) {
      this.record.obstacle = 'the client was given descriptors for parts of a region';
    }
    if (note.command === Command.VERSION) return this.#version(note, message);
    this.record.commit(note, message.payload());
    return null;
  }

  /** The back end has gone without an answer to this request: whether the record makes one needless; `null`: nothing is known of it. */
  unanswered(id: number): Uint8Array | null {
    const note = this.#notes.get(id);
    this.#notes.delete(id);
    if (note === undefined) return null;
    if (RECORDED.has(note.command)) return this.#settle(note);
    this.record.drop(note);
    return null;
  }

  /** The answer to a request that needs no back end, because the next one will be told of it; null for others. */
  withoutBackend(message: IncomingMessage): Uint8Array | null {
    if (!RECORDED.has(message.command)) return null;
    return this.#settle(this.record.note(message.command, message.payload(), message.fds));
  }

  /** Gives back every fd. */
  close(): void {
    for (const note of this.#notes.values()) this.record.drop(note);
    this.#notes.clear();
    this.record.close();
  }

  #settle(note: Note): Uint8Array {
    const { command, payload } = note;
    this.record.commit(note, NOTHING);
    return command === Command.DMA_UNMAP ? payload.slice(0, UNMAP_SIZE) : NOTHING;
  }

  #note(message: IncomingMessage): Uint8Array | null {
    const { id, command } = message;
    const changed = this.#changed(command, message.payload());
    const note = this.record.note(
      command,
      command === Command.VERSION && changed !== null ? changed : message.payload(),
      message.fds,
    );
    if (message.noReply) {
      this.record.commit(note, NOTHING);
      return changed;
    }
    const before = this.#notes.get(id);
    if (before !== undefined) this.record.drop(before);
    this.#notes.set(id, note);
    return changed;
  }

  /** What can't be decoded is the back end's to refuse. */
  #changed(command: number, payload: Uint8Array): Uint8Array | null {
    if (command === Command.VERSION) return attempt(() => proposalFor(payload));
    if (command === Command.DEVICE_GET_REGION_INFO && !this.#mmap) {
      return attempt(() => wholeInfoRequest(payload));
    }
    return null;
  }

  #version(note: Note, message: IncomingMessage): Uint8Array | null {
    const told = attempt(() => answerFor(message.payload()));
    this.record.commit(note, told ?? message.payload());
    return told;
  }

  #regionInfo({ command, payload }: Note, message: IncomingMessage): Uint8Array | null {
    const reply = message.payload();
    const info = attempt(() => ({
      argsz: deviceGetRegionInfo.request.decode(payload).argsz,
      request: wholeInfoRequest(payload),
      reply: withoutMapping(reply, REGION_INFO_ARGSZ),
      mappable: isMappable(reply),
    }));
    if (info === null) {
      this.record.obstacle = 'its back end describes a region in a way that is not understood';
      return null;
    }
    const { argsz, request, mappable } = info;
    this.record.learn({ command, request, reply: info.reply });
    if (!this.#mmap) return withoutMapping(reply, argsz);
    if (mappable) this.record.obstacle = 'the client was given regions that it can map (--mmap)';
    return null;
  }

  #configuration({ view, bytes, start, end }: IncomingMessage): void {
    if (end - start < RegionAccess.size) return;
    if (view.getUint32(start + AT.region, littleEndian) !== RegionIndex.CONFIG) return;
    const offset = readU64AsNumber(view, start + AT.offset);
    this.record.configuration.note(offset, bytes, start + RegionAccess.size, end);
  }
}

function attempt<T>(make: () => T): T | null {
  try {
    return make();
  } catch (error) {
    if (error instanceof FerryError) return null;
    throw error;
  }
}
