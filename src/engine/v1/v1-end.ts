import {
  ClientError,
  isV1Region,
  type MovableDevice,
  type V1Device,
  V1Error,
  V1StateError,
} from '../../client/index.ts';
import { Errno } from '../../errors/index.ts';
import { MigrationFlag, MigrationState, stateName, V1_STATE_MASK, V1State } from '../../states/index.ts';
import { type Claims, claimsOf, field, inspectionOf, instanceOf } from '../ends/client-end.ts';
import type { EndInspection, MigrationEnd, PrecopyEstimate } from '../migration-end.ts';
import { V1Reader } from './v1-reader.ts';
import { v1StateFor, v2StateOf, waysTo } from './v1-states.ts';
import { V1Writer } from './v1-writer.ts';

/** How a v1 device behaves as an end of a migration. Everything has a default. */
export interface V1EndOptions {
  /** How messages call it; the path of the client by default. */
  readonly name?: string;
  /**
   * The v1 device whose state it is to be given: pieces then keep the sizes that they have there. Null, the default:
   * pieces are cut to what fits.
   */
  readonly source?: V1End | null;
  /** The most bytes that one stop-and-copy may bring; 64 GiB by default. A server could go on for ever. */
  readonly maxStopCopy?: number;
}

const DEFAULT_MAX_STOP_COPY = 64 * 1024 ** 3;
/** What every device of v1 has. It can't express the P2P states. */
const FLAGS = BigInt(MigrationFlag.STOP_COPY | MigrationFlag.PRE_COPY);

/**
 * A v1 device as one end of a migration: it looks like a v2 device with pre-copy and without P2P. Operations are carried
 * out one after the other, in the order of the calls, since v1 has one set of registers.
 */
export class V1End implements MigrationEnd {
  readonly name: string;
  /** Absent where the server knows no claims, as the two that follow. */
  readonly claim?: Claims['claim'];
  readonly retire?: Claims['retire'];
  readonly release?: Claims['release'];
  readonly #client: MovableDevice;
  readonly #device: V1Device;
  readonly #reader: V1Reader;
  readonly #writer: V1Writer;
  #last: Promise<unknown> = Promise.resolve();
  /** The server does not go from 100 to 000: the device stays in 100, and goes on to 001 when it is to run. */
  #stopsLater = false;

  constructor(client: MovableDevice, device: V1Device, options: V1EndOptions = {}) {
    const { source = null, maxStopCopy = DEFAULT_MAX_STOP_COPY } = options;
    this.name = options.name ?? client.path;
    this.#client = client;
    this.#device = device;
    if (client.agreement.claim) {
      const { claim, retire, release } = claimsOf(client);
      this.claim = (ticket) => this.#inOrder(() => claim(ticket));
      this.retire = (ticket) => this.#inOrder(() => retire(ticket));
      this.release = (ticket) => this.#inOrder(() => release(ticket));
    }
    this.#reader = new V1Reader(device, maxStopCopy);
    this.#writer = new V1Writer(device, source === null ? null : source.#reader.shareBoundaries());
  }

  flags(): Promise<bigint> {
    return Promise.resolve(FLAGS);
  }

  state(): Promise<number> {
    return this.#inOrder(async () => {
      const state = v2StateOf(await this.#device.state());
      return this.#stopsLater && state === MigrationState.RESUMING ? MigrationState.STOP : state;
    });
  }

  setState(state: MigrationState): Promise<void> {
    return this.#inOrder(() => this.#go(state));
  }

  read(maxBytes: number, consume: (chunk: Uint8Array) => void): Promise<number> {
    return this.#inOrder(() => this.#reader.read(maxBytes, consume));
  }

  write(bytes: Uint8Array): Promise<void> {
    // Not slice(), which is no copy of a Buffer.
    const copy = new Uint8Array(bytes);
    return this.#inOrder(async () => {
      if (this.#stopsLater) throw new V1Error('ERR_V1_DATA', 'the device takes no more data: it has stopped');
      await this.#writer.write(copy);
    });
  }

  /** v1 does not tell what has to be loaded first: nothing has. */
  precopyInfo(): Promise<PrecopyEstimate | null> {
    return this.#inOrder(async () => {
      const dirtyBytes = await this.#reader.left();
      return dirtyBytes === null ? null : { initialBytes: 0n, dirtyBytes };
    });
  }

  /** v1 tells it only while the device saves. */
  dataSize(): Promise<bigint | null> {
    return this.#inOrder(async () => (isSaving(await this.#now()) ? this.#reader.left() : null));
  }

  reset(): Promise<void> {
    return this.#inOrder(async () => {
      this.#stopsLater = false;
      await this.#resetDevice();
      // A reset does not end a hold, RUNNING does: whoever uses the device next can go on.
      await this.#walk(await this.#now(), V1State.RUNNING);
      const state = await this.#now();
      if (state === V1State.RUNNING) return;
      throw new V1Error('ERR_V1_STATE', 'the device was reset and does not run', { state });
    });
  }

  /** What it tells of itself. The migration region is no part of the device: its size may differ. */
  async inspect(): Promise<EndInspection> {
    const description = await this.#inOrder(() => this.#client.describe());
    const instance = await this.#inOrder(() => instanceOf(this.#client));
    const regions = description.regions.filter((region) => !isV1Region(region));
    const largestPiece = this.#largestPiece(description.server);
    return { ...inspectionOf({ ...description, regions }), ...instance, largestPiece };
  }

  /** What a Ferry server tells, or all of the region. */
  #largestPiece(report: unknown): number {
    const told = field(field(field(report, 'migration'), 'v1'), 'dataSize');
    return typeof told === 'number' && told > 0 ? Math.min(told, this.#device.room) : this.#device.room;
  }

  async #go(state: MigrationState): Promise<void> {
    const to = v1StateFor(state);
    if (to === null) throw inexpressible(state);
    await this.#reader.acknowledge();
    const from = await this.#now();
    if (from === V1State.RESUMING && to !== V1State.RESUMING) this.#writer.requireWhole();
    if (from === V1State.RESUMING && to === V1State.STOP) await this.#stopResumed();
    else await this.#walk(from, to);
    if (to !== V1State.STOP) this.#stopsLater = false;
    if (to === V1State.RESUMING && from !== to) this.#writer.begin();
    if (opensSession(from, to)) this.#reader.begin();
    if (to === V1State.STOP_COPY) this.#reader.stop();
  }

  /** libvfio-user refuses a reset while the device is stopped. */
  async #resetDevice(): Promise<void> {
    try {
      await this.#client.reset();
    } catch (error) {
      if (!(error instanceof ClientError)) throw error;
      await this.#walk(await this.#now(), V1State.RUNNING);
      await this.#client.reset();
    }
  }

  /** Takes the first way that the server does not refuse at its first step. */
  async #walk(from: number, to: V1State): Promise<void> {
    let refusal: unknown = null;
    for (const way of waysTo(from, to)) {
      try {
        for (const state of way) await this.#device.setState(state);
        return;
      } catch (error) {
        if (!isNotTaken(error, from)) throw error;
        refusal ??= error;
      }
    }
    // Some rules have no way from a state to itself; there is nothing to do then.
    if (from !== to) throw refusal;
  }

  /**
   * 000 has the device deserialize, and so proves that it has everything. libvfio-user does not take it from 100: there
   * the device stays where it is, which is stopped too, and the proof comes with 001.
   */
  async #stopResumed(): Promise<void> {
    if (this.#stopsLater) return;
    try {
      await this.#device.setState(V1State.STOP);
    } catch (error) {
      if (!isNotTaken(error, V1State.RESUMING)) throw error;
      this.#stopsLater = true;
    }
  }

  async #now(): Promise<number> {
    return (await this.#device.state()) & V1_STATE_MASK;
  }

  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

function isSaving(state: number): boolean {
  return state === V1State.PRE_COPY || state === V1State.STOP_COPY;
}

/** Pre-copy and stop-and-copy are one session, in this direction only. */
function opensSession(from: number, to: number): boolean {
  return isSaving(to) && from !== to && !(from === V1State.PRE_COPY && to === V1State.STOP_COPY);
}

/** The server does not take this change: the device is where it was, and nothing has happened to it. */
function isNotTaken(error: unknown, from: number): boolean {
  return error instanceof V1StateError && error.errno === Errno.EINVAL && error.reached === from;
}

function inexpressible(state: MigrationState): V1Error {
  const context = { state: stateName(state) };
  return new V1Error('ERR_V1_LACKS', `v1 has no ${stateName(state)}`, context, { errno: Errno.EINVAL });
}
