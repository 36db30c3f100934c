import { readdirSync, readFileSync } from 'node:fs';
import {
  DmaError,
  type DmaErrorCode,
  type DmaMap,
  type DmaMode,
  type DmaPort,
} from '../../src/memory/index.ts';
import { loadNative, type Native } from '../../src/native/index.ts';

export const native: Native = loadNative();

/** A memfd whose byte at position p is `byteAt(p)`. Whoever takes it closes it. */
export function guestFile(size: number): number {
  const fd = native.memfd('guest', size, false);
  const bytes = pattern(0, size);
  if (native.pwrite(fd, bytes, 0, size, 0) !== size) throw new Error('the guest file was not written');
  return fd;
}

/** The bytes that {@link guestFile} has at `position`. */
export function pattern(position: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => byteAt(position + index));
}

function byteAt(position: number): number {
  return (position * 31 + Math.floor(position / 256)) & 0xff;
}

/** What the file holds at a position, read behind everybody's back. */
export function fileBytes(fd: number, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const count = native.pread(fd, bytes, 0, length, position);
  return bytes.subarray(0, Math.max(0, count));
}

export function request(
  mode: DmaMode,
  iova: bigint,
  size: bigint,
  fd: number | null,
  extra: { offset?: bigint; read?: boolean; write?: boolean } = {},
): DmaMap {
  const { offset = 0n, read = true, write = true } = extra;
  return { iova, size, offset, fd, flags: { read, write, mode } };
}

export function openFds(): number {
  return readdirSync('/proc/self/fd').length;
}

/** How many mappings of guest files this process has. */
export function guestMappings(): number {
  return readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .filter((line) => line.includes('memfd:guest')).length;
}

/** The DmaError of a call, checked for its code. */
export function dmaError(action: () => unknown, code: DmaErrorCode): DmaError {
  try {
    action();
  } catch (error) {
    return requireDmaError(error, code);
  }
  throw new Error(`nothing was thrown instead of ${code}`);
}

/** The DmaError of a rejected promise, checked for its code. */
export async function dmaRejection(promise: Promise<unknown>, code: DmaErrorCode): Promise<DmaError> {
  try {
    await promise;
  } catch (error) {
    return requireDmaError(error, code);
  }
  throw new Error(`nothing was rejected instead of ${code}`);
}

function requireDmaError(error: unknown, code: DmaErrorCode): DmaError {
  if (!(error instanceof DmaError) || error.code !== code) throw error;
  return error;
}

/** A client that answers from `memory`, where byte 0 has address `base`; answers wait while it is held. */
export class GuestPort implements DmaPort {
  connected = true;
  readonly memory: Uint8Array;
  readonly log: string[] = [];
  readonly #base: bigint;
  #gate: Promise<void> = Promise.resolve();

  constructor(memory: Uint8Array, base = 0n) {
    this.memory = memory;
    this.#base = base;
  }

  async read(iova: bigint, length: number): Promise<Uint8Array> {
    this.log.push(`read ${iova} ${length}`);
    await this.#gate;
    const at = Number(iova - this.#base);
    return this.memory.slice(at, at + length);
  }

  async write(iova: bigint, data: Uint8Array): Promise<void> {
    this.log.push(`write ${iova} ${data.length}`);
    await this.#gate;
    this.memory.set(data, Number(iova - this.#base));
  }

  /** Answers nothing until the function returned is called: with a reason it fails everything instead. */
  hold(): (reason?: Error) => void {
    let release: (reason?: Error) => void = () => undefined;
    this.#gate = new Promise((resolve, reject) => {
      release = (reason) => (reason === undefined ? resolve() : reject(reason));
    });
    this.#gate.catch(() => undefined);
    return release;
  }
}
