/** Who a PCI device is. The first 16 bytes of its configuration space and the identity of its migration state. */
export interface PciIdentity {
  /** What sort of device it is, for people and for migration: `edu`. 1 to 64 printable ASCII characters. */
  readonly kind: string;
  /** Vendor id, 16 bits. */
  readonly vendor: number;
  /** Device id, 16 bits. */
  readonly device: number;
  /** Base class, subclass and programming interface, 24 bits: 0x010802 is NVMe. */
  readonly classCode: number;
  /** Revision id, 8 bits; 0 unless given. */
  readonly revision?: number;
  /** Subsystem vendor id, 16 bits; 0 unless given. */
  readonly subsystemVendor?: number;
  /** Subsystem id, 16 bits; 0 unless given. */
  readonly subsystemDevice?: number;
}
