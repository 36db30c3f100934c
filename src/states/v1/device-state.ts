import type { SessionKind } from '../migration-state.ts';

/** The bits of the register device_state (struct vfio_device_migration_info, linux/vfio.h of Linux 5.8 to 5.17). */
export const V1Bit = {
  /** The device operates. Without it the device has stopped before the write returned. */
  RUNNING: 1,
  /** The device gathers its state for userspace. */
  SAVING: 2,
  /** The device takes a state from userspace. */
  RESUMING: 4,
  /**
   * No DMA is begun (proposed in December 2021, with a region capability that offers it; never merged). It became the
   * P2P states of v2. Reserved everywhere else.
   */
  NDMA: 8,
} as const;

/** The bits that make up the state; 3 to 31 are reserved. */
export const V1_STATE_MASK = 7;

/** The combinations that have a meaning. 101 and 111 are invalid. */
export const V1State = {
  /** 000: stopped, neither saving nor resuming. */
  STOP: 0b000,
  /** 001: running, the default. */
  RUNNING: 0b001,
  /** 010: stopped, the state can be read (stop-and-copy). */
  STOP_COPY: 0b010,
  /** 011: running, the state can be read (pre-copy). */
  PRE_COPY: 0b011,
  /** 100: stopped, a state can be written. */
  RESUMING: 0b100,
  /** 110: the device failed; only a reset helps. Merely invalid in the draft of 2019. */
  ERROR: 0b110,
} as const;

/** The number of a state in which a v1 device can be. */
export type V1State = (typeof V1State)[keyof typeof V1State];

/** The state in which a device starts and which every reset restores. */
export const V1_RESET_STATE: V1State = V1State.RUNNING;

const known = new Map<number, V1State>(Object.values(V1State).map((state) => [state, state]));
const names = new Map<number, string>(Object.entries(V1State).map(([name, state]) => [state, name]));

/**
 * The state that a value of device_state stands for, its reserved bits ignored; null for 101 and 111. Reserved bits
 * are kept by who writes (read-modify-write) and read as 0.
 */
export function parseV1State(value: number): V1State | null {
  return known.get(value & V1_STATE_MASK) ?? null;
}

/** The bits of a value of device_state that mean nothing: 3 to 31. */
export function v1ReservedBits(value: number): number {
  return (value & ~V1_STATE_MASK) >>> 0;
}

/** The name of a value of device_state, such as `PRE_COPY`, `invalid 101`, `RUNNING with reserved bits 0xf000`. */
export function v1Name(value: number): string {
  const state = value & V1_STATE_MASK;
  const name = names.get(state) ?? `invalid ${v1Bits(state)}`;
  const reserved = v1ReservedBits(value);
  return reserved === 0 ? name : `${name} with reserved bits 0x${reserved.toString(16)}`;
}

/** The three bits as they are written in the header: RESUMING, SAVING, RUNNING; `011` is pre-copy. */
export function v1Bits(value: number): string {
  return (value & V1_STATE_MASK).toString(2).padStart(3, '0');
}

/**
 * VFIO_DEVICE_STATE_VALID of the header, bit for bit: with RESUMING no other of the three bits may be set, without it
 * everything goes. So 0xF000 and 0xF004 are valid, reserved bits and all, and 110, the state of an error, is not.
 */
export function isValidV1(value: number): boolean {
  return (value & V1Bit.RESUMING) === 0 || (value & V1_STATE_MASK) === V1Bit.RESUMING;
}

/** VFIO_DEVICE_STATE_IS_ERROR of the header: the state is 110, whatever the reserved bits are. */
export function isErrorV1(value: number): boolean {
  return (value & V1_STATE_MASK) === V1State.ERROR;
}

/**
 * VFIO_DEVICE_STATE_SET_ERROR of the header as it was meant: the state becomes 110, the reserved bits stay. As
 * published it names VFIO_DEVICE_SATE_SAVING, which nothing defines: a program that used it would not have compiled,
 * so none did (patch "Fix VFIO_DEVICE_STATE_SET_ERROR macro", October 2021).
 */
export function setErrorV1(value: number): number {
  return ((value & ~V1_STATE_MASK) | V1State.ERROR) >>> 0;
}

/** The kind of data session that is open in a state, or null. */
export function v1SessionKind(state: V1State): SessionKind | null {
  if (state === V1State.STOP_COPY || state === V1State.PRE_COPY) return 'saving';
  return state === V1State.RESUMING ? 'resuming' : null;
}
