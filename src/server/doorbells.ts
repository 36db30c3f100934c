import type { Doorbell, Region } from '../device/index.ts';
import { FerryError } from '../errors/index.ts';
import { check, type Native } from '../native/index.ts';
import { littleEndian } from '../protocol/index.ts';
import type { Closeable, Reactor } from '../transport/index.ts';
import { deviceFailed, ServerError } from './server-error.ts';
import { ShadowMemory } from './shadow-memory.ts';

const FAILED = 'the device failed in a write that an eventfd signalled';

/** Where doorbells are heard, and who is told what nobody waits for. */
export interface DoorbellsOptions {
  readonly native: Native;
  readonly reactor: Reactor;
  readonly report: (error: FerryError) => void;
}

/** A doorbell with the eventfd that rings it. */
export interface Bell {
  readonly region: Region;
  readonly doorbell: Doorbell;
  readonly eventfd: number;
  /** Which slot of the shadow memory its value is in; null when it has none there. */
  readonly slot: number | null;
}

/** The doorbells of a region that a client has been given. */
export interface BellSet {
  readonly bells: readonly Bell[];
  /** Where the client leaves values; null when no doorbell needs it. */
  readonly shadow: ShadowMemory | null;
}

/** A doorbell as two processes compare it. */
export interface BellShape {
  readonly offset: number;
  readonly size: number;
  /** Null: any value. */
  readonly datamatch: bigint | null;
  readonly shadow: boolean;
}

/** The doorbells of one region that a client has been given. */
export interface GivenBells {
  readonly region: number;
  readonly bells: readonly (BellShape & { readonly eventfd: number })[];
  /** The fd of the shadow memory; null without one. */
  readonly shadow: number | null;
}

/** A write to a region, as a ring stands for it. */
export interface Ring {
  readonly region: Region;
  readonly offset: number;
  readonly data: Uint8Array;
}

/**
 * The eventfds of GET_REGION_IO_FDS. They belong to the main connection: they are made when it asks for them, and are of
 * no use to anybody after it. A ring is a write to the device; while nobody listens it stays counted in its eventfd.
 */
export class Doorbells {
  readonly #options: DoorbellsOptions;
  /** By the index of the region. */
  readonly #sets = new Map<number, BellSet>();
  #watches: Closeable[] = [];
  #listening = true;

  constructor(options: DoorbellsOptions) {
    this.#options = options;
  }

  /** How many eventfds the client has been given. */
  get count(): number {
    return this.#all().length;
  }

  /**
   * The doorbells of a region for a client that takes `maxFds` descriptors with a message: the first ones, as many as it
   * can be told of. What is left out it writes by message. Throws NativeError when there are no fds left.
   */
  offer(region: Region, maxFds: number): BellSet {
    const known = this.#sets.get(region.index);
    if (known !== undefined) return known;
    const doorbells = affordable(region.doorbells ?? [], maxFds);
    const made = this.#make(region, doorbells);
    this.#sets.set(region.index, made);
    if (this.#listening) this.#watch(made);
    return made;
  }

  /** What the client has been given, by region, for another process: see {@link adopt}. Fds stay ours. */
  given(): GivenBells[] {
    return [...this.#sets].map(([region, { bells, shadow }]) => ({
      region,
      bells: bells.map(({ doorbell, eventfd }) => ({ ...shapeOf(doorbell), eventfd })),
      shadow: shadow?.fd ?? null,
    }));
  }

  /**
   * Goes on with what a client has been given by another process; the fds are ours when this returns. Throws ServerError when
   * the region has other doorbells here.
   */
  adopt(region: Region, { bells, shadow }: GivenBells): void {
    const doorbells = (region.doorbells ?? []).slice(0, bells.length);
    const shapes = doorbells.map(shapeOf);
    if (bells.some((bell, i) => !sameShape(bell, shapes[i]))) throw otherDoorbells(region.index);
    const slots = doorbells.filter((doorbell) => doorbell.shadow === true);
    if (slots.length > 0 !== (shadow !== null)) throw otherDoorbells(region.index);
    const set: BellSet = {
      bells: doorbells.map((doorbell, i) => ({
        ...{ region, doorbell, eventfd: bells[i]?.eventfd ?? -1 },
        slot: doorbell.shadow === true ? slots.indexOf(doorbell) : null,
      })),
      shadow: shadow === null ? null : new ShadowMemory(this.#options.native, slots.length, shadow),
    };
    this.#sets.set(region.index, set);
    if (this.#listening) this.#watch(set);
  }

  /** Whether rings reach the device from now on, those that are counted already included. */
  listen(wanted: boolean): void {
    if (wanted === this.#listening) return;
    this.#listening = wanted;
    if (wanted) for (const set of this.#sets.values()) this.#watch(set);
    else this.#unwatch();
  }

  /** Carries out at once what has been rung, if anybody listens. */
  carryOut(): void {
    if (this.#listening) for (const ring of this.takeRings()) this.#write(ring);
  }

  /** Takes what has been rung and not been carried out. */
  takeRings(): Ring[] {
    return this.#all().flatMap(({ bell, set }) => this.#takeRing(bell, set) ?? []);
  }

  /** Gives everything up: rings that come later are nobody's. */
  releaseAll(): void {
    this.#unwatch();
    for (const set of this.#sets.values()) this.#close(set);
    this.#sets.clear();
  }

  #all(): { readonly bell: Bell; readonly set: BellSet }[] {
    return [...this.#sets.values()].flatMap((set) => set.bells.map((bell) => ({ bell, set })));
  }

  #make(region: Region, doorbells: readonly Doorbell[]): BellSet {
    const { native } = this.#options;
    const bells: Bell[] = [];
    const slots = doorbells.filter(({ shadow }) => shadow === true);
    const shadow = slots.length === 0 ? null : new ShadowMemory(native, slots.length);
    try {
      for (const doorbell of doorbells) {
        const eventfd = check(native.eventfd(0), 'eventfd', { region: region.index });
        const slot = doorbell.shadow === true ? slots.indexOf(doorbell) : null;
        bells.push({ region, doorbell, eventfd, slot });
      }
    } catch (error) {
      this.#close({ bells, shadow });
      throw error;
    }
    return { bells, shadow };
  }

  #close({ bells, shadow }: BellSet): void {
    for (const { eventfd } of bells) this.#options.native.close(eventfd);
    shadow?.close();
  }

  #watch(set: BellSet): void {
    for (const bell of set.bells) {
      const rung = (): void => {
        const ring = this.#takeRing(bell, set);
        if (ring !== null) this.#write(ring);
      };
      this.#watches.push(this.#options.reactor.watch(bell.eventfd, rung));
    }
  }

  #takeRing({ region, doorbell, eventfd, slot }: Bell, { shadow }: BellSet): Ring | null {
    if (this.#options.native.eventfdRead(eventfd) <= 0) return null;
    const { offset, size, datamatch = 0 } = doorbell;
    const value = slot === null || shadow === null ? BigInt(datamatch) : shadow.read(slot, size);
    const data = new Uint8Array(8);
    new DataView(data.buffer).setBigUint64(0, value, littleEndian);
    return { region, offset, data: data.subarray(0, size) };
  }

  #unwatch(): void {
    for (const watch of this.#watches.splice(0)) watch.close();
  }

  /** The same as a posted write. */
  #write({ region, offset, data }: Ring): void {
    try {
      region.write(offset, data, 0, data.length);
    } catch (error) {
      this.#options.report(error instanceof FerryError ? error : deviceFailed(FAILED, error));
    }
  }
}

function shapeOf({ offset, size, datamatch, shadow = false }: Doorbell): BellShape {
  return { offset, size, datamatch: datamatch === undefined ? null : BigInt(datamatch), shadow };
}

function sameShape(a: BellShape, b: BellShape | undefined): boolean {
  return a.offset === b?.offset && a.size === b.size && a.datamatch === b.datamatch && a.shadow === b.shadow;
}

function otherDoorbells(region: number): ServerError {
  const message = `region ${region} has other doorbells in this version of the device`;
  return new ServerError('ERR_WRONG_STATE', message, { region });
}

/** The first doorbells whose descriptors fit into one message. */
function affordable(doorbells: readonly Doorbell[], maxFds: number): readonly Doorbell[] {
  const firstShadow = doorbells.findIndex(({ shadow }) => shadow === true);
  const withoutShadow = doorbells.slice(0, maxFds);
  if (firstShadow < 0 || firstShadow >= withoutShadow.length) return withoutShadow;
  return doorbells.slice(0, maxFds - 1);
}
