import type { HandedBlock, Possessions, TimerPhase } from '../device/index.ts';
import { type Agreement, fromHalves, PCI_NUM_REGIONS, type ValueOfStruct } from '../protocol/index.ts';
import type { GivenBells, RemainingConnection, RemainingInterrupts, RemainingLink } from '../server/index.ts';
import type { FdTable } from './fd-table.ts';
import { damagedRecord } from './handover-error.ts';
import {
  AgreementEntry,
  BellEntry,
  BellSetEntry,
  BlockEntry,
  ClaimEntry,
  ConnectionEntry,
  ConnectionFlag,
  FdSetEntry,
  IdEntry,
  InterruptEntry,
  LinkEntry,
  ListenerEntry,
  MapEntry,
  MarkEntry,
  Place,
  PROTOCOL_VERSION,
  RecordHead,
  TimerEntry,
} from './layout.ts';
import { mapOf } from './map-entries.ts';
import { Unpacker } from './pack.ts';
import type { HandoverRecord, RemainingListener } from './record.ts';
import { agreedFeatures, roleOf } from './record-numbers.ts';

/** The most vectors of an interrupt index (MSI-X), bells of a region, and bytes of what an author gives. */
const MAX_VECTORS = 2048;
const MAX_BELLS = 4096;
const MAX_POSSESSION_BYTES = 1024 * 1024;

/**
 * Reads a record and checks it as a whole; nothing is applied. The fds are taken out of `fds`. Throws HandoverError
 * ERR_HANDOVER_RECORD.
 */
export function decodeRecord(bytes: Uint8Array, fds: FdTable): HandoverRecord {
  const decoder = new Decoder(bytes, fds);
  const record = decoder.record();
  const mains = record.server.connections.filter(({ role, agreed }) => role === 'main' && agreed !== null);
  if (mains.length > 1) throw damagedRecord('has two VMMs');
  return record;
}

class Decoder {
  readonly #from: Unpacker;
  readonly #fds: FdTable;

  constructor(bytes: Uint8Array, fds: FdTable) {
    this.#from = new Unpacker(bytes);
    this.#fds = fds;
  }

  record(): HandoverRecord {
    const head = this.#from.struct(RecordHead);
    if (head.version !== PROTOCOL_VERSION) throw damagedRecord(`has version ${head.version}`);
    const listeners = this.#many(head.listeners, () => this.#listener());
    const over = this.#from.structs(ClaimEntry, head.claims).map(claimOf);
    const connections = this.#many(head.connections, () => this.#connection());
    const interrupts = this.#many(head.interrupts, () => this.#interrupts());
    const doorbells = this.#many(head.bellSets, () => this.#bells());
    const maps = this.#from.structs(MapEntry, head.maps).map((entry) => mapOf(entry, this.#fds));
    const device = this.#device(head);
    this.#from.end();
    this.#fds.end();
    return {
      listeners,
      server: {
        ...{ connections, interrupts, doorbells, maps, device, instance: head.instance, resets: head.resets },
        claims: { highest: head.highestEpoch, over },
        onReconnect: head.keeps === 1 ? 'keep' : 'reset',
      },
    };
  }

  #many<T>(count: number, read: () => T): T[] {
    return Array.from({ length: count }, read);
  }

  #listener(): RemainingListener {
    const { role, own, fd, pathLength } = this.#from.struct(ListenerEntry);
    const path = this.#from.text(pathLength);
    return { role: roleOf(role), fd: this.#fds.take(fd), path: own === 1 ? path : null };
  }

  #connection(): RemainingConnection {
    const { role, flags } = this.#from.struct(ConnectionEntry);
    const has = (flag: number): boolean => (flags & flag) !== 0;
    const agreed = has(ConnectionFlag.AGREED) ? agreementOf(this.#from.struct(AgreementEntry)) : null;
    return {
      ...{ role: roleOf(role), agreed, ...this.#link() },
      twin: has(ConnectionFlag.TWIN) ? this.#link() : null,
      late: has(ConnectionFlag.LATE),
      aborted: has(ConnectionFlag.ABORTED),
    };
  }

  #link(): RemainingLink {
    const entry = this.#from.struct(LinkEntry);
    if (entry.rest > entry.unsent) throw damagedRecord('has more of a message than of all messages');
    const fd = this.#fds.take(entry.fd);
    const unread = this.#from.bytes(entry.unread);
    const fdSets = this.#many(entry.fdSets, () => {
      const { at, fds } = this.#from.struct(FdSetEntry);
      return { at, fds: this.#places(fds) };
    });
    requireAscending(fdSets, unread.length);
    const unsent = this.#from.bytes(entry.unsent);
    const fdMarks = this.#many(entry.marks, () => {
      const { at, end, fds } = this.#from.struct(MarkEntry);
      if (end > unsent.length || at >= end) throw damagedRecord('has fds for bytes that are not there');
      return { at, end, fds: this.#places(fds) };
    });
    requireAscending(fdMarks, unsent.length);
    const abandoned = this.#from.structs(IdEntry, entry.abandoned).map(({ id }) => id);
    const link = {
      unread: { bytes: unread, fdSets },
      unsent: { bytes: unsent, rest: entry.rest, fdMarks },
      ids: { last: entry.lastId, abandoned },
    };
    return { fd, link };
  }

  #interrupts(): RemainingInterrupts {
    const { index, enabled, vectors } = this.#from.struct(InterruptEntry);
    if (vectors > MAX_VECTORS) throw damagedRecord(`has ${vectors} vectors`);
    const eventfds = this.#from.structs(Place, vectors).map(({ fd }) => this.#fds.takeOptional(fd));
    const masked = this.#from.bytes(vectors);
    return { index, enabled: enabled === 1, eventfds, masked, pending: this.#from.bytes(vectors) };
  }

  #bells(): GivenBells {
    const { region, bells, shadow } = this.#from.struct(BellSetEntry);
    if (region >= PCI_NUM_REGIONS || bells > MAX_BELLS) throw damagedRecord('has impossible doorbells');
    return {
      region,
      shadow: this.#fds.takeOptional(shadow),
      bells: this.#from.structs(BellEntry, bells).map(({ eventfd, offset, size, datamatch, flags }) => ({
        ...{ offset: Number(offset), size, eventfd: this.#fds.take(eventfd) },
        datamatch: (flags & 1) === 0 ? null : datamatch,
        shadow: (flags & 2) !== 0,
      })),
    };
  }

  #device(head: ValueOfStruct<typeof RecordHead>): {
    blocks: HandedBlock[];
    timers: TimerPhase[];
    possessions: Possessions;
  } {
    const blocks = this.#many(head.blocks, () => this.#block());
    const timers = this.#from
      .structs(TimerEntry, head.timers)
      .map(({ period, left }) => ({ ms: Number(period) / 1000, leftMs: Number(left) / 1000 }));
    if (head.possessionBytes > MAX_POSSESSION_BYTES) throw damagedRecord('gives too much of the device');
    const data = this.#from.bytes(head.possessionBytes);
    return { blocks, timers, possessions: { data, fds: this.#places(head.possessionFds) } };
  }

  #block(): HandedBlock {
    const { size, fd, exposed, nameLength } = this.#from.struct(BlockEntry);
    const name = this.#from.text(nameLength);
    return { name, size: Number(size), fd: this.#fds.take(fd), exposed: exposed === 1 };
  }

  #places(count: number): number[] {
    return this.#from.structs(Place, count).map(({ fd }) => this.#fds.take(fd));
  }
}

function claimOf({ tokenLow, tokenHigh, lowest }: ValueOfStruct<typeof ClaimEntry>): [string, bigint] {
  return [Buffer.from(fromHalves(tokenLow, tokenHigh)).toString('hex'), lowest];
}

function agreementOf(entry: ValueOfStruct<typeof AgreementEntry>): Agreement {
  const { major, minor, maxDmaMaps, configuration } = entry;
  return {
    ...{ major, minor, maxDmaMaps, pgsizes: Number(entry.pgsizes) },
    send: { maxDataXferSize: entry.sendSize, maxMsgFds: entry.sendFds },
    receive: { maxDataXferSize: entry.receiveSize, maxMsgFds: entry.receiveFds },
    ...agreedFeatures(entry.features),
    configuration: configuration === 0 ? null : configuration - 1,
  };
}

function requireAscending(sets: readonly { readonly at: number }[], length: number): void {
  let before = -1;
  for (const { at } of sets) {
    if (at <= before || at >= length) throw damagedRecord('has fds for bytes that are not there');
    before = at;
  }
}
