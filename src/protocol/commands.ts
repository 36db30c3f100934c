/** Every command of the protocol (vfio-user.rst, Commands), and Ferry's own (0xFExx, see docs/protocol.md). */
export const Command = {
  VERSION: 1,
  DMA_MAP: 2,
  DMA_UNMAP: 3,
  DEVICE_GET_INFO: 4,
  DEVICE_GET_REGION_INFO: 5,
  DEVICE_GET_REGION_IO_FDS: 6,
  DEVICE_GET_IRQ_INFO: 7,
  DEVICE_SET_IRQS: 8,
  REGION_READ: 9,
  REGION_WRITE: 10,
  DMA_READ: 11,
  DMA_WRITE: 12,
  DEVICE_RESET: 13,
  REGION_WRITE_MULTI: 15,
  DEVICE_FEATURE: 16,
  MIG_DATA_READ: 17,
  MIG_DATA_WRITE: 18,
  FERRY_PRECOPY_INFO: 0xfe01,
  FERRY_INSPECT: 0xfe02,
  FERRY_CLAIM: 0xfe03,
  FERRY_RECONNECTION: 0xfe04,
  FERRY_SWITCHOVER: 0xfe05,
  FERRY_HANDOVER: 0xfe06,
} as const;

/** A command number that exists. */
export type Command = (typeof Command)[keyof typeof Command];

const names = new Map<number, string>(Object.entries(Command).map(([name, number]) => [number, name]));

/** The name of a command without its VFIO_USER_ prefix, or `command N` when there is none. */
export function commandName(command: number): string {
  return names.get(command) ?? `command ${command}`;
}
