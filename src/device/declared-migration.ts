import { Errno, type FerryError } from '../errors/index.ts';
import { isRunning, MigrationFlag, MigrationState, mayInitiateDma, sessionKind } from '../states/index.ts';
import { type Crc32, type DeviceImage, type PrecopyInfo, StateReader, StateWriter } from '../stream/index.ts';
import { DeviceError } from './device-error.ts';
import { LentImage } from './lent-image.ts';
import { RunLevel } from './run-control.ts';
import type { DeviceMigration } from './served-device.ts';

/** What a migration needs of its device. */
export interface MigrationServices {
  /** Everything that travels. */
  readonly image: DeviceImage;
  /** CRC-32 of the state's bulk. */
  readonly crc32: Crc32;
  /** Whether the author has declared a state, without which nothing is known to be enough. */
  readonly migratable: boolean;
  /** Changes how much of the device runs; going down it waits for work and DMA. */
  setLevel(level: RunLevel): void | Promise<void>;
  /** Resets all that travels but the blocks of these names, before another state is loaded. */
  resetState(besides?: ReadonlySet<string>): void;
}

/** All three migration flags: what a declared state gives for free. */
const ALL_FLAGS = MigrationFlag.STOP_COPY | MigrationFlag.P2P | MigrationFlag.PRE_COPY;

/** What may run in a state. */
function runLevelOf(state: MigrationState): RunLevel {
  if (mayInitiateDma(state)) return RunLevel.RUNNING;
  return isRunning(state) ? RunLevel.NO_DMA : RunLevel.STOPPED;
}

/**
 * The migration that follows from a declared state. Each arc changes the run level to what the new state allows, and
 * opens or ends the session that the states differ in.
 */
export class DeclaredMigration implements DeviceMigration {
  readonly flags: number;
  readonly #services: MigrationServices;
  #image: DeviceImage;
  /** Blocks that sessions leave out. */
  #lent: ReadonlySet<string> = new Set();
  #writer: StateWriter | null = null;
  #reader: StateReader | null = null;

  constructor(services: MigrationServices) {
    this.#services = services;
    this.#image = services.image;
    this.flags = services.migratable ? ALL_FLAGS : 0;
  }

  lend(blocks: readonly string[]): void {
    const { image } = this.#services;
    this.#lent = new Set(blocks);
    this.#image = blocks.length === 0 ? image : new LentImage(image, this.#lent);
  }

  arc(from: MigrationState, to: MigrationState): void | Promise<void> {
    if (sessionKind(from) === 'resuming') this.#finishReading();
    const quiesced = this.#services.setLevel(runLevelOf(to));
    if (quiesced === undefined) return this.#enter(from, to);
    return quiesced.then(() => this.#enter(from, to));
  }

  read(target: Uint8Array): number {
    return this.#openWriter().read(target);
  }

  write(data: Uint8Array): void {
    if (this.#reader === null) throw noSession('RESUMING');
    this.#reader.write(data);
  }

  precopyInfo(): PrecopyInfo {
    return this.#openWriter().precopyInfo();
  }

  dataSize(): bigint {
    return (this.#writer ?? new StateWriter(this.#image, this.#services.crc32)).remainingBytes();
  }

  reset(): void {
    this.#closeWriter();
    this.#closeReader();
  }

  /** The device runs as `to` allows; now the session. A failure takes the device back to `from`, and waits for that. */
  #enter(from: MigrationState, to: MigrationState): void | Promise<void> {
    try {
      this.#changeSession(from, to);
    } catch (error) {
      if (sessionKind(from) === null) this.reset();
      const fail = (): never => {
        throw error;
      };
      return this.#services.setLevel(runLevelOf(from))?.then(fail, fail) ?? fail();
    }
  }

  #changeSession(from: MigrationState, to: MigrationState): void {
    const before = sessionKind(from);
    const after = sessionKind(to);
    if (before === 'saving' && after !== 'saving') this.#closeWriter();
    if (after === 'saving' && before !== 'saving') this.#startWriting();
    if (to === MigrationState.STOP_COPY) this.#openWriter().stop();
    if (after === 'resuming') this.#startReading();
  }

  #startWriting(): void {
    this.#writer = new StateWriter(this.#image, this.#services.crc32);
    this.#writer.start();
  }

  #startReading(): void {
    this.#services.resetState(this.#lent);
    this.#reader = new StateReader(this.#image, this.#services.crc32);
  }

  /** An incomplete or spoilt state keeps the device in RESUMING, as in the kernel's drivers; a reset leads out. */
  #finishReading(): void {
    this.#reader?.finish();
    this.#closeReader();
  }

  #openWriter(): StateWriter {
    if (this.#writer === null) throw noSession('a saving state');
    return this.#writer;
  }

  #closeWriter(): void {
    this.#writer?.close();
    this.#writer = null;
  }

  #closeReader(): void {
    this.#reader?.close();
    this.#reader = null;
  }
}

function noSession(where: string): FerryError {
  return new DeviceError('ERR_DEVICE_MIGRATION', `no data session is open: the device is not in ${where}`, {
    errno: Errno.EINVAL,
  });
}
