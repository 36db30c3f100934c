import { Errno, RefusalError } from '../errors/index.ts';
import { V1MigrationInfo } from '../protocol/index.ts';
import { V1_STATE_MASK, type V1State, v1ReservedBits } from '../states/index.ts';
import type { MappedArea, MappedRegion, RegionInfo } from './descriptions.ts';
import type { MovableDevice } from './movable-device.ts';
import { V1Error, V1StateError, v1Refusal } from './v1-error.ts';
import { findV1Region } from './v1-region.ts';

/** How a v1 device is driven. */
export interface V1DeviceOptions {
  /** Use the mapping of the data section if there is one. True by default. */
  readonly map?: boolean;
  /** The longest piece that is taken from a server, in bytes; 256 MiB by default. */
  readonly maxPiece?: number;
}

const AT = V1MigrationInfo.at;
const DEFAULT_MAX_PIECE = 256 * 1024 * 1024;

/**
 * A device that is migrated through a v1 region, whoever serves it: the registers, and one transaction at a time of
 * both sequences. Its methods are not to overlap: the registers have a meaning only in their order. Each rejects with
 * V1Error when the server refuses or when its registers can't be right; with what MovableDevice names otherwise.
 */
export class V1Device {
  readonly region: RegionInfo;
  readonly #client: MovableDevice;
  readonly #maxPiece: number;
  readonly #mapping: MappedRegion | null;

  private constructor(
    client: MovableDevice,
    region: RegionInfo,
    mapping: MappedRegion | null,
    options: V1DeviceOptions,
  ) {
    this.#client = client;
    this.region = region;
    this.#mapping = mapping;
    this.#maxPiece = options.maxPiece ?? DEFAULT_MAX_PIECE;
  }

  /** Looks for the migration region; null when the device has none. The client stays the caller's. */
  static async open(client: MovableDevice, options: V1DeviceOptions = {}): Promise<V1Device | null> {
    const region = await findV1Region(client);
    if (region === null) return null;
    const wanted = region.mappable && options.map !== false;
    const mapping = wanted ? await mapIfPossible(client, region.index) : null;
    return new V1Device(client, region, mapping, options);
  }

  /** Whether data go through a mapping. */
  get mapped(): boolean {
    return this.#mapping !== null;
  }

  /** No piece can be longer: what of the region is not registers, in bytes. */
  get room(): number {
    return Number(this.region.size) - V1MigrationInfo.size;
  }

  /** device_state as it is, reserved bits included. */
  state(): Promise<number> {
    return this.#ask('device_state', this.#client.readU32(this.region.index, AT.deviceState));
  }

  /**
   * Writes device_state, its reserved bits as they are (read-modify-write). Rejects with V1StateError, which says where
   * the device is, when the server refuses.
   */
  async setState(state: V1State): Promise<void> {
    const reserved = v1ReservedBits(await this.state());
    try {
      await this.#client.writeU32(this.region.index, AT.deviceState, (reserved | state) >>> 0);
    } catch (error) {
      if (!(error instanceof RefusalError)) throw error;
      const reached = await this.state().catch(() => null);
      throw new V1StateError(state, reached === null ? null : reached & V1_STATE_MASK, error);
    }
  }

  /** About how many bytes are left to save, 0 at the end; acknowledges the piece before. An estimate: bound it. */
  pendingBytes(): Promise<bigint> {
    return this.#ask('pending_bytes', this.#client.readU64(this.region.index, AT.pendingBytes));
  }

  /**
   * One transaction of the saving sequence (b to d), after pending_bytes was not 0. `consume` gets the whole piece in a
   * view that is valid only during the call. Gives its length; 0, without a call, when the device had none ready.
   */
  async readPiece(consume: (piece: Uint8Array) => void): Promise<number> {
    const offset = await this.#placeOf('data_offset');
    const size = await this.#ask('data_size', this.#client.readU64(this.region.index, AT.dataSize));
    if (size === 0n) return 0;
    const length = this.#lengthOf(offset, size);
    const area = this.#areaOf(offset, length);
    if (area !== null) consume(area.bytes.subarray(offset - area.offset, offset - area.offset + length));
    else consume(await this.#ask('the piece', this.#client.read(this.region.index, offset, length)));
    return length;
  }

  /** Where the next piece goes: how many bytes it may have at most. In RESUMING. */
  async roomForPiece(): Promise<number> {
    return Number(this.region.size) - (await this.#placeOf('data_offset'));
  }

  /** One transaction of the resuming sequence: the server has consumed the piece when this resolves. */
  async writePiece(piece: Uint8Array): Promise<void> {
    const offset = await this.#placeOf('data_offset');
    const room = Number(this.region.size) - offset;
    if (piece.length > room) {
      const message = `a piece of ${piece.length} bytes does not fit into the data section, which has ${room}`;
      throw new V1Error('ERR_V1_PIECE', message, { length: piece.length, room }, { errno: Errno.EFBIG });
    }
    const area = this.#areaOf(offset, piece.length);
    if (area !== null) area.bytes.set(piece, offset - area.offset);
    else await this.#ask('the piece', this.#client.write(this.region.index, offset, piece));
    const size = BigInt(piece.length);
    await this.#ask('data_size', this.#client.writeU64(this.region.index, AT.dataSize, size));
  }

  /** data_offset, which lies behind the registers and inside of the region. */
  async #placeOf(what: string): Promise<number> {
    const offset = await this.#ask(what, this.#client.readU64(this.region.index, AT.dataOffset));
    if (offset >= BigInt(V1MigrationInfo.size) && offset < this.region.size) return Number(offset);
    throw impossible(`data_offset is 0x${offset.toString(16)}`, this.region);
  }

  #lengthOf(offset: number, size: bigint): number {
    if (BigInt(offset) + size > this.region.size) {
      throw impossible(`data_offset is 0x${offset.toString(16)} and data_size ${size}`, this.region);
    }
    if (size <= BigInt(this.#maxPiece)) return Number(size);
    const message = `the server has a piece of ${size} bytes, and ${this.#maxPiece} are taken at most`;
    throw new V1Error('ERR_V1_DATA', message, { size });
  }

  /** The mapped area in which a piece lies as a whole; null when there is none. */
  #areaOf(offset: number, length: number): MappedArea | null {
    const areas = this.#mapping?.areas ?? [];
    const found = areas.find(
      (area) => offset >= area.offset && offset + length <= area.offset + area.bytes.length,
    );
    return found ?? null;
  }

  async #ask<T>(what: string, answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (error) {
      throw error instanceof RefusalError ? v1Refusal(what, error) : error;
    }
  }
}

/** "The user is not required to access through mmap" (linux/vfio.h): what can't be mapped is read and written. */
async function mapIfPossible(client: MovableDevice, index: number): Promise<MappedRegion | null> {
  try {
    return await client.mapRegion(index);
  } catch (error) {
    if (client.closedBecause !== null) throw error;
    return null;
  }
}

function impossible(what: string, { index, size }: RegionInfo): V1Error {
  const message = `the migration region's ${what}: that is outside of it, or in its registers`;
  return new V1Error('ERR_V1_DATA', message, { region: index, size });
}
