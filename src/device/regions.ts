import { RegionIndex } from '../protocol/index.ts';
import type { Bar, BarContent } from './bar.ts';
import type { ConfigurationSpace } from './configuration-space.ts';
import type { Doorbell } from './doorbell.ts';
import { FunctionReset } from './function-reset.ts';
import type { RunControl } from './run-control.ts';
import type { Region, SharedRegion } from './served-device.ts';

/** What a read yields that nobody answers. */
const ALL_ONES = 0xff;

/**
 * A BAR as a region: the author's callbacks with work afterwards, if they asked for it. In D3hot nobody answers (PCI
 * Power Management 1.2, section 5.4.1): reads yield all ones, writes go nowhere.
 */
export class BarRegion implements Region {
  readonly index: number;
  readonly size: number;
  readonly readable: boolean;
  readonly writable: boolean;
  readonly shared: SharedRegion | null;
  readonly doorbells: readonly Doorbell[];
  readonly ports: boolean;
  readonly #content: BarContent;
  readonly #run: RunControl;
  readonly #sleeping: () => boolean;

  constructor(index: number, bar: Bar, content: BarContent, run: RunControl, sleeping: () => boolean) {
    this.index = index;
    this.size = bar.size;
    this.readable = bar.access !== 'write';
    this.writable = bar.access !== 'read';
    this.shared = sharedRegion(bar);
    this.doorbells = bar.doorbells;
    this.ports = bar.space === 'io';
    this.#content = content;
    this.#run = run;
    this.#sleeping = sleeping;
  }

  read(offset: number, target: Uint8Array, at: number, length: number): void {
    if (this.#sleeping()) {
      target.fill(ALL_ONES, at, at + length);
      return;
    }
    this.#run.enter();
    try {
      this.#content.read(offset, target, at, length);
    } finally {
      this.#run.leave();
    }
  }

  write(offset: number, source: Uint8Array, at: number, length: number): void {
    if (this.#sleeping()) return;
    this.#run.enter();
    try {
      this.#content.write(offset, source, at, length);
    } finally {
      this.#run.leave();
    }
  }
}

/** The configuration space as a region behind `content`; work that its callbacks ask for happens after them. */
export function configRegion(config: ConfigurationSpace, content: BarContent, run: RunControl): Region {
  const reset = new FunctionReset(config);
  return {
    index: RegionIndex.CONFIG,
    size: config.size,
    readable: true,
    writable: true,
    shared: null,
    read: (offset, target, at, length) => run.within(() => content.read(offset, target, at, length)),
    write: (offset, source, at, length) => run.within(() => content.write(offset, source, at, length)),
    initiatesReset: (offset, source, at, length) => reset.initiatedBy(offset, source, at, length),
  };
}

/** A region that the device lacks. Nothing can be read or written, as it has no bytes. */
export function absentRegion(index: number): Region {
  return { index, size: 0, readable: false, writable: false, shared: null, read: () => {}, write: () => {} };
}

function sharedRegion({ size, sharing }: Bar): SharedRegion | null {
  const fd = sharing?.block.fd ?? null;
  if (sharing === null || fd === null) return null;
  const { block, areas } = sharing;
  const whole = areas.reduce((sum, area) => sum + area.size, 0) === size;
  return { areas, whole, expose: () => block.expose() ?? fd };
}
