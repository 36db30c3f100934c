import type { DmaMap } from '../memory/index.ts';
import type { Native } from '../native/index.ts';
import { AckBody, Kind, MAX_BODY, MAX_FDS, StateHead } from './layout.ts';
import type { HandoverLink, Said } from './link.ts';
import { encodeMaps } from './map-entries.ts';
import { Packer, Unpacker } from './pack.ts';
import { type Moment, moment } from './pause.ts';
import type { EncodedRecord } from './record-encoder.ts';

const NOTHING = new Uint8Array(0);
/** Pieces of the state up to this many bytes go with the rest. */
const LITTLE = 64 * 1024;

/** What follows when the device has stopped. */
export interface StoppedState {
  readonly record: EncodedRecord;
  /** The rest of the state. */
  readonly data: readonly Uint8Array[];
  /** Bytes of the state in all. */
  readonly dataLength: number;
  /** When its clients were served last. */
  readonly stopped: Moment;
}

/** How the process that has the device sends much: in pieces, which the other acknowledges where it matters. */
export class Outgoing {
  readonly #native: Pick<Native, 'crc32'>;
  readonly #link: HandoverLink;
  #acknowledged: ((count: number) => void) | null = null;

  constructor(native: Pick<Native, 'crc32'>, link: HandoverLink) {
    this.#native = native;
    this.#link = link;
  }

  /** The other process has acknowledged. Throws HandoverError. */
  acknowledge(body: Uint8Array): void {
    this.#acknowledged?.(new Unpacker(body).struct(AckBody).received);
  }

  /** Tells of maps that will be needed, and settles when the other process has made them. */
  async prepare(maps: readonly DmaMap[]): Promise<void> {
    const { bytes, fds } = encodeMaps(maps);
    this.#link.send(Kind.MAPS, bytes, fds);
    await this.takenIn();
  }

  /** Settles when the other process has dealt with all that was sent: what follows has to be quick. */
  async takenIn(): Promise<void> {
    const taken = this.#arrival(0);
    this.#link.send(Kind.MARK);
    await taken;
  }

  /** Sends all of it, as long as `wanted`. */
  async sendStopped(
    { record, data, dataLength, stopped }: StoppedState,
    wanted: () => boolean,
  ): Promise<void> {
    const { bytes, fds } = record;
    const saved = moment();
    const head = new Packer();
    const recordChecksum = this.#native.crc32(bytes, 0);
    head.struct(StateHead, {
      ...{ recordLength: bytes.length, recordChecksum, fds: fds.length },
      ...{ dataLength: BigInt(dataLength), stoppedAt: stopped.at, savedAt: saved.at },
      savingCpu: saved.cpu - stopped.cpu,
    });
    const first: Said[] = [{ kind: Kind.STATE, body: head.finish() }];
    for (let at = 0; at < bytes.length; at += MAX_BODY) {
      first.push({ kind: Kind.RECORD, body: bytes.subarray(at, at + MAX_BODY) });
    }
    const rest = data.map((body) => ({ kind: Kind.DATA, body }));
    if (fds.length <= MAX_FDS && rest.every(({ body }) => body.length <= LITTLE)) {
      return this.#link.sendTogether([...first, { kind: Kind.FDS, body: NOTHING, fds }, ...rest]);
    }
    this.#link.sendTogether(first);
    for (let at = 0; at < fds.length && wanted(); at += MAX_FDS) await this.#sendFds(fds, at);
    if (wanted()) for (const { kind, body } of rest) this.#link.send(kind, body);
  }

  /** The kernel limits the fds that are on their way: each piece but the last is waited for. */
  #sendFds(fds: readonly number[], at: number): void | Promise<void> {
    const chunk = fds.slice(at, at + MAX_FDS);
    const count = at + chunk.length;
    const arrived = count < fds.length ? this.#arrival(count) : undefined;
    this.#link.send(Kind.FDS, NOTHING, chunk);
    return arrived;
  }

  /** Settles when the other process has so many fds. */
  #arrival(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#acknowledged = (received) => {
        if (received >= count) resolve();
      };
    });
  }
}
