/** A register that keeps what is written to it, by which a device is recognised after a move. */
export interface Mark {
  readonly region: number;
  readonly offset: bigint;
  readonly bytes: Uint8Array;
}

/** What the suite knows of devices that several programs implement. */
export interface KnownDevice {
  readonly vendor: number;
  readonly device: number;
  readonly name: string;
  readonly mark: Mark | null;
  /** DMA can be started as docs/specs/edu.rst of QEMU says. */
  readonly edu: boolean;
}

/**
 * Devices whose registers are documented: nothing may be written to the registers of others, and nobody can say what
 * would make them do DMA.
 */
export const KNOWN_DEVICES: readonly KnownDevice[] = [
  {
    ...{ vendor: 0x1234, device: 0x11e8, name: 'edu (QEMU, docs/specs/edu.rst)', edu: true },
    mark: { region: 0, offset: 0x04n, bytes: Uint8Array.of(0x5a, 0x17, 0x2b, 0x91) },
  },
  {
    ...{ vendor: 0x494f, device: 0x0dc8, name: 'ACCES PCI-IDIO-16', edu: false },
    mark: { region: 2, offset: 0n, bytes: Uint8Array.of(0x5a) },
  },
  {
    ...{ vendor: 0x1b36, device: 0x0002, name: 'PCI serial port (QEMU, 16550A)', edu: false },
    mark: { region: 0, offset: 7n, bytes: Uint8Array.of(0x5a) },
  },
  {
    ...{ vendor: 0x1234, device: 0x4652, name: "Ferry's memory device", edu: false },
    mark: { region: 0, offset: 0x80n, bytes: Uint8Array.of(0x5a, 0x17, 0x2b, 0x91) },
  },
  {
    ...{ vendor: 0x1234, device: 0x4e56, name: "Ferry's NVMe controller", edu: false },
    // AQA of NVM Express 1.4, 3.1.8: the sizes of the admin queues.
    mark: { region: 0, offset: 0x24n, bytes: Uint8Array.of(0x1f, 0x00, 0x3f, 0x00) },
  },
];

/** What is known of a device; null when nothing is. */
export function knownDevice(
  identity: { readonly vendor: number; readonly device: number } | null,
): KnownDevice | null {
  const same = (one: KnownDevice): boolean =>
    one.vendor === identity?.vendor && one.device === identity.device;
  return KNOWN_DEVICES.find(same) ?? null;
}
