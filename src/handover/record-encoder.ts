import type { Possessions } from '../device/index.ts';
import type { Agreement } from '../protocol/index.ts';
import type { GivenBells, RemainingConnection, RemainingInterrupts, ServerRemains } from '../server/index.ts';
import type { ConnectionRemains } from '../transport/index.ts';
import { FdList } from './fd-table.ts';
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
import { mapEntry } from './map-entries.ts';
import { Packer } from './pack.ts';
import type { HandoverRecord } from './record.ts';
import { agreedBits, roleNumber } from './record-numbers.ts';

/** A record as bytes, and the fds that go with it. */
export interface EncodedRecord {
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
}

/** Puts a record into bytes. Throws ProtocolError for a number that does not fit its field. */
export function encodeRecord(record: HandoverRecord): EncodedRecord {
  const encoder = new Encoder();
  encoder.head(record);
  for (const { role, fd, path } of record.listeners) encoder.listener(roleNumber(role), fd, path);
  encoder.server(record.server);
  return encoder.finish();
}

class Encoder {
  readonly #pack = new Packer();
  readonly #fds = new FdList();

  head({ listeners, server }: HandoverRecord): void {
    const { possessions } = server.device;
    this.#pack.struct(RecordHead, {
      version: PROTOCOL_VERSION,
      keeps: server.onReconnect === 'keep' ? 1 : 0,
      reserved: 0,
      instance: BigInt.asUintN(64, server.instance),
      resets: server.resets,
      highestEpoch: server.claims.highest,
      claims: server.claims.over.length,
      listeners: listeners.length,
      connections: server.connections.length,
      interrupts: server.interrupts.length,
      bellSets: server.doorbells.length,
      maps: server.maps.length,
      blocks: server.device.blocks.length,
      timers: server.device.timers.length,
      possessionBytes: possessions.data.length,
      possessionFds: possessions.fds.length,
    });
  }

  listener(role: number, fd: number, path: string | null): void {
    const bytes = Buffer.from(path ?? '');
    const own = path === null ? 0 : 1;
    this.#pack.struct(ListenerEntry, { role, own, fd: this.#fds.place(fd), pathLength: bytes.length });
    this.#pack.bytes(bytes);
  }

  server({ claims, connections, interrupts, doorbells, maps, device }: ServerRemains): void {
    for (const [token, lowest] of claims.over) this.#claim(token, lowest);
    for (const connection of connections) this.#connection(connection);
    for (const side of interrupts) this.#interrupts(side);
    for (const given of doorbells) this.#bells(given);
    for (const map of maps) this.#pack.struct(MapEntry, mapEntry(map, this.#fds));
    this.#device(device);
    this.#possessions(device.possessions);
  }

  finish(): EncodedRecord {
    return { bytes: this.#pack.finish(), fds: this.#fds.fds };
  }

  #claim(token: string, lowest: bigint): void {
    const bytes = Buffer.from(token, 'hex');
    const half = (at: number): bigint => bytes.readBigUInt64LE(at);
    this.#pack.struct(ClaimEntry, { tokenLow: half(0), tokenHigh: half(8), lowest });
  }

  #connection({ role, agreed, fd, link, twin, late, aborted }: RemainingConnection): void {
    const { AGREED, TWIN, LATE, ABORTED } = ConnectionFlag;
    const flags =
      (agreed === null ? 0 : AGREED) |
      (twin === null ? 0 : TWIN) |
      (late ? LATE : 0) |
      (aborted ? ABORTED : 0);
    this.#pack.struct(ConnectionEntry, { role: roleNumber(role), flags });
    if (agreed !== null) this.#agreement(agreed);
    this.#link(fd, link);
    if (twin !== null) this.#link(twin.fd, twin.link);
  }

  #agreement(agreed: Agreement): void {
    const { major, minor, send, receive, maxDmaMaps, pgsizes, configuration } = agreed;
    this.#pack.struct(AgreementEntry, {
      ...{ major, minor, maxDmaMaps, pgsizes: BigInt(pgsizes) },
      ...{ sendSize: send.maxDataXferSize, sendFds: send.maxMsgFds },
      ...{ receiveSize: receive.maxDataXferSize, receiveFds: receive.maxMsgFds },
      features: agreedBits(agreed),
      configuration: configuration === null ? 0 : configuration + 1,
    });
  }

  #link(fd: number, { unread, unsent, ids }: ConnectionRemains): void {
    this.#pack.struct(LinkEntry, {
      fd: this.#fds.place(fd),
      ...{ unread: unread.bytes.length, fdSets: unread.fdSets.length, lastId: ids.last },
      ...{ abandoned: ids.abandoned.length, marks: unsent.fdMarks.length },
      ...{ unsent: unsent.bytes.length, rest: unsent.rest },
    });
    this.#pack.bytes(unread.bytes);
    for (const { at, fds } of unread.fdSets) {
      this.#pack.struct(FdSetEntry, { at, fds: fds.length });
      this.#places(fds);
    }
    this.#pack.bytes(unsent.bytes);
    for (const { at, end, fds } of unsent.fdMarks) {
      this.#pack.struct(MarkEntry, { at, end, fds: fds.length });
      this.#places(fds);
    }
    for (const id of ids.abandoned) this.#pack.struct(IdEntry, { id });
  }

  #interrupts({ index, enabled, masked, pending, eventfds }: RemainingInterrupts): void {
    this.#pack.struct(InterruptEntry, { index, enabled: enabled ? 1 : 0, vectors: masked.length });
    this.#places(eventfds);
    this.#pack.bytes(masked);
    this.#pack.bytes(pending);
  }

  #bells({ region, bells, shadow }: GivenBells): void {
    this.#pack.struct(BellSetEntry, { region, bells: bells.length, shadow: this.#fds.place(shadow) });
    for (const { eventfd, offset, size, datamatch, shadow: shadowed } of bells) {
      this.#pack.struct(BellEntry, {
        ...{ eventfd: this.#fds.place(eventfd), offset: BigInt(offset), size },
        datamatch: BigInt.asUintN(64, datamatch ?? 0n),
        flags: (datamatch === null ? 0 : 1) | (shadowed ? 2 : 0),
      });
    }
  }

  #device({ blocks, timers }: ServerRemains['device']): void {
    for (const { name, size, fd, exposed } of blocks) {
      const bytes = Buffer.from(name);
      this.#pack.struct(BlockEntry, {
        ...{ size: BigInt(size), fd: this.#fds.place(fd), exposed: exposed ? 1 : 0 },
        nameLength: bytes.length,
      });
      this.#pack.bytes(bytes);
    }
    for (const { ms, leftMs } of timers) {
      this.#pack.struct(TimerEntry, { period: micros(ms), left: micros(leftMs) });
    }
  }

  #possessions({ data, fds }: Possessions): void {
    this.#pack.bytes(data);
    this.#places(fds);
  }

  #places(fds: readonly (number | null)[]): void {
    for (const fd of fds) this.#pack.struct(Place, { fd: this.#fds.place(fd) });
  }
}

function micros(ms: number): bigint {
  return BigInt(Math.round(ms * 1000));
}
