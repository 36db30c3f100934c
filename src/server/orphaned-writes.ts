import { FerryError } from '../errors/index.ts';
import type { Native } from '../native/index.ts';
import {
  Command,
  encodeHeader,
  HEADER_SIZE,
  HeaderFlag,
  RegionAccess,
  regionWrite,
} from '../protocol/index.ts';
import { type HeldMessage, IncomingMessage } from '../transport/index.ts';
import type { Ring } from './doorbells.ts';
import { handlerFor } from './handlers/index.ts';
import { isV1Access } from './handlers/v1-region.ts';
import type { ServedConnection } from './served-connection.ts';
import { deviceFailed } from './server-error.ts';

const FAILED = 'the device failed in a write whose sender has gone';

type Action = () => void | Promise<void>;

/**
 * What VMMs wrote, in order, before they went away: device state that would be lost otherwise. It waits until nothing
 * keeps it from the device.
 */
export class OrphanedWrites {
  readonly #native: Native;
  readonly #report: (error: FerryError) => void;
  #waiting: Action[] = [];

  /** `report` takes what nobody is there to be told. */
  constructor(native: Native, report: (error: FerryError) => void) {
    this.#native = native;
    this.#report = report;
  }

  /** Keeps the writes among the commands that `from` left behind, and closes their fds. */
  adopt(from: ServedConnection, commands: readonly HeldMessage[]): void {
    for (const { bytes, fds } of commands) {
      for (const fd of fds) this.#native.close(fd);
      if (isDeviceWrite(from, bytes)) this.#waiting.push(() => carryOut(from, bytes));
    }
  }

  /** Keeps what `from` has rung, as the posted writes that rings stand for. */
  adoptRings(from: ServedConnection, rings: readonly Ring[]): void {
    for (const ring of rings) this.#waiting.push(() => carryOut(from, postedWrite(ring)));
  }

  /** What is to be done after these writes, because their VMM has gone. */
  adoptReset(reset: Action): void {
    this.#waiting.push(reset);
  }

  /** Gives them up: the device is reset after them. */
  discard(): void {
    this.#waiting = [];
  }

  /** Carries them out. */
  replay(): void {
    for (const act of this.#waiting.splice(0)) this.#replay(act);
  }

  #replay(act: Action): void {
    try {
      act()?.catch((error: unknown) => this.#failed(error));
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    this.#report(error instanceof FerryError ? error : deviceFailed(FAILED, error));
  }
}

function carryOut(from: ServedConnection, bytes: Uint8Array): void {
  const message = point(bytes);
  handlerFor(from.role, message.command)(from, message);
}

function postedWrite({ region, offset, data }: Ring): Uint8Array {
  const write = { offset: BigInt(offset), region: region.index, count: data.length, data };
  const payload = regionWrite.request.encode(write);
  const size = HEADER_SIZE + payload.length;
  const command = Command.REGION_WRITE;
  const header = encodeHeader({ messageId: 0, command, size, flags: HeaderFlag.NO_REPLY, error: 0 });
  const bytes = new Uint8Array(size);
  bytes.set(header);
  bytes.set(payload, HEADER_SIZE);
  return bytes;
}

/** Whether a command writes to the device; a migration that the sender drove through the region of v1 is over with it. */
function isDeviceWrite(from: ServedConnection, bytes: Uint8Array): boolean {
  const message = point(bytes);
  if (message.command === Command.REGION_WRITE_MULTI) return true;
  if (message.command !== Command.REGION_WRITE || message.length < RegionAccess.size) return false;
  return !isV1Access(from, message);
}

function point(bytes: Uint8Array): IncomingMessage {
  const message = new IncomingMessage();
  message.point(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), 0, bytes.length, []);
  return message;
}
