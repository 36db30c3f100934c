import { Errno } from '../../src/errors/index.ts';
import type { FakeRegion } from './fake-files.ts';

/** linux/vfio.h of Linux 5.8, struct vfio_device_migration_info. */
const [DEVICE_STATE, PENDING, DATA_OFFSET, DATA_SIZE] = [0, 8, 16, 24];
const REGISTERS = 32;
const PIECE = 10;
const SIZE = 4096;
const [RUNNING, SAVING, RESUMING] = [1, 2, 4];

/** The migration region of a driver of v1: its state goes in pieces of 10 bytes. */
export class V1Registers {
  deviceState = RUNNING;
  state: Uint8Array = new Uint8Array(0);
  #at = 0;
  #data = new Uint8Array(SIZE - REGISTERS);
  #received: number[] = [];

  readonly region: FakeRegion = {
    size: SIZE,
    read: (offset, into) => this.#read(offset, into),
    write: (offset, from) => this.#write(offset, from),
  };

  #read(offset: number, into: Uint8Array): number {
    if (offset >= REGISTERS) {
      into.set(this.#data.subarray(offset - REGISTERS, offset - REGISTERS + into.length));
      return into.length;
    }
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt(this.#register(offset)), true);
    into.set(new Uint8Array(view.buffer, 0, into.length));
    return into.length;
  }

  #register(offset: number): number {
    const left = this.state.length - this.#at;
    switch (offset) {
      case DEVICE_STATE:
        return this.deviceState;
      case PENDING:
        return (this.deviceState & SAVING) === 0 || (this.deviceState & RUNNING) !== 0 ? 0 : left;
      case DATA_OFFSET:
        if ((this.deviceState & SAVING) !== 0)
          this.#data.set(this.state.subarray(this.#at, this.#at + PIECE));
        return REGISTERS;
      default: {
        const piece = Math.min(PIECE, left);
        this.#at += piece;
        return piece;
      }
    }
  }

  #write(offset: number, from: Uint8Array): number {
    const view = new DataView(from.buffer, from.byteOffset);
    if (offset >= REGISTERS) this.#data.set(from, offset - REGISTERS);
    else if (offset === DATA_SIZE)
      this.#received.push(...this.#data.subarray(0, Number(view.getBigUint64(0, true))));
    else if (offset === DEVICE_STATE) return this.#go(view.getUint32(0, true)) ? from.length : -Errno.EINVAL;
    return from.length;
  }

  #go(state: number): boolean {
    if (state > RESUMING) return false;
    if ((state & SAVING) !== 0 && (this.deviceState & SAVING) === 0) this.#at = 0;
    if (state === RESUMING) this.#received = [];
    if (this.deviceState === RESUMING && state !== RESUMING) this.state = Uint8Array.from(this.#received);
    this.deviceState = state;
    return true;
  }
}
