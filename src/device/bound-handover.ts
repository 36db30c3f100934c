import { Errno } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import { type DeviceImage, StateWriter } from '../stream/index.ts';
import { DeviceError } from './device-error.ts';
import {
  type DeviceHandover,
  type HandedBlock,
  type HandoverHooks,
  type PartVersion,
  type Possessions,
  sharedBlocks,
  type TimerPhase,
} from './device-handover.ts';
import type { DeviceTimers } from './device-timers.ts';
import { LentImage } from './lent-image.ts';
import type { DeviceMigration } from './served-device.ts';
import type { MemoryBlock } from './state/index.ts';

/** So much of a state is saved at a time for practice, in bytes. */
const SCRATCH = 4096;

/** What a hand-over needs of a bound device. */
export interface BoundHandoverParts {
  readonly native: Native;
  /** Everything that travels in a migration. */
  readonly image: DeviceImage;
  readonly blocks: readonly MemoryBlock[];
  readonly timers: DeviceTimers;
  readonly migration: () => DeviceMigration;
  readonly hooks: HandoverHooks;
}

/** The hand-over of a device whose state is declared. */
export class BoundHandover implements DeviceHandover {
  readonly parts: readonly PartVersion[];
  readonly #parts: BoundHandoverParts;
  #underWay = false;

  constructor(parts: BoundHandoverParts) {
    this.#parts = parts;
    this.parts = parts.image.schema.parts.map(({ name, version, oldest }) => ({ name, version, oldest }));
  }

  /** Whether the device stops, or is loaded, in order to be handed over. */
  get underWay(): boolean {
    return this.#underWay;
  }

  get shared(): readonly { readonly name: string; readonly size: number }[] {
    return sharedBlocks(this.#parts.blocks).map(({ name, size }) => ({ name, size }));
  }

  get blocks(): readonly string[] {
    return this.#parts.blocks.map(({ name }) => name);
  }

  begin(lent: readonly string[]): void {
    const migration = this.#parts.migration();
    if (lent.length > 0 && migration.lend === undefined) throw notLendable(lent);
    migration.lend?.(lent);
    this.#underWay = true;
  }

  practise(): void {
    const { image, native } = this.#parts;
    const writer = new StateWriter(new LentImage(image, new Set(this.blocks)), (data, seed) =>
      native.crc32(data, seed),
    );
    writer.start();
    writer.stop();
    const nowhere = new Uint8Array(SCRATCH);
    while (writer.read(nowhere) > 0);
    writer.close();
  }

  give(): { blocks: readonly HandedBlock[]; timers: readonly TimerPhase[]; possessions: Possessions } {
    const { blocks, timers, hooks } = this.#parts;
    return {
      blocks: sharedBlocks(blocks).map(({ name, size, fd, exposed }) => ({
        ...{ name, size, exposed },
        fd: fd ?? -1,
      })),
      timers: timers.phases(),
      possessions: hooks.give(),
    };
  }

  adopt(blocks: readonly HandedBlock[], timers: readonly TimerPhase[]): void {
    for (const { name, size, fd, exposed } of blocks) {
      const block = this.#parts.blocks.find(
        (candidate) => candidate.name === name && candidate.size === size,
      );
      if (block === undefined) throw unknownBlock(name, size);
      block.adopt(this.#parts.native, fd, exposed);
    }
    this.#parts.timers.adopt(timers);
  }

  take(possessions: Possessions): void {
    this.#parts.hooks.take(possessions);
  }

  end(): void {
    this.#underWay = false;
    this.#parts.migration().lend?.([]);
  }
}

function notLendable(names: readonly string[]): DeviceError {
  const message = `clients have mapped ${names.join(', ')}, which this device's own migration hooks can't leave out`;
  return new DeviceError('ERR_DEVICE_MIGRATION', message, { errno: Errno.EOPNOTSUPP });
}

function unknownBlock(name: string, size: number): DeviceError {
  const message = `this version of the device shares no block ${name} of ${size} bytes`;
  return new DeviceError('ERR_DEVICE_MIGRATION', message, { errno: Errno.EINVAL, context: { name, size } });
}
