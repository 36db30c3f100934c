/** A driver of the kernel that offers migration for its devices (Linux 7.2, drivers/vfio/pci, samples/vfio-mdev). */
export interface VariantDriver {
  /** The module, with underscores. */
  readonly module: string;
  /** The kernel's setting that builds it. */
  readonly config: string;
  /** Migration flags of its devices: 1 STOP_COPY, 2 P2P, 4 PRE_COPY. */
  readonly flags: number;
  /** PCI vendor; its devices by id; null: those of a display class. */
  readonly vendor: number;
  readonly devices: readonly number[] | null;
  /** What it needs besides, one thing each. */
  readonly needs: readonly string[];
}

/** Every such driver for PCI devices. All of their devices are virtual functions of SR-IOV. */
export const VARIANT_DRIVERS: readonly VariantDriver[] = [
  {
    module: 'mlx5_vfio_pci',
    config: 'CONFIG_MLX5_VFIO_PCI',
    flags: 7,
    vendor: 0x15b3,
    devices: [0x101e],
    needs: [
      'devlink port function set pci/<PF>/<port> migratable enable, while the VF is bound to no driver',
    ],
  },
  {
    module: 'virtio_vfio_pci',
    config: 'CONFIG_VIRTIO_VFIO_PCI',
    flags: 7,
    vendor: 0x1af4,
    devices: [0x1041, 0x1042],
    needs: ['a virtio device whose administration virtqueue has the commands for device parts'],
  },
  {
    module: 'qat_vfio_pci',
    config: 'CONFIG_QAT_VFIO_PCI',
    flags: 7,
    vendor: 0x8086,
    devices: [0x4941, 0x4943, 0x4945],
    needs: ['the driver of its physical function (qat_4xxx) loaded'],
  },
  {
    module: 'hisi_acc_vfio_pci',
    config: 'CONFIG_HISI_ACC_VFIO_PCI',
    flags: 5,
    vendor: 0x19e5,
    devices: [0xa251, 0xa256, 0xa259],
    needs: ['an accelerator of version QM_HW_V3 or later'],
  },
  {
    module: 'pds_vfio_pci',
    config: 'CONFIG_PDS_VFIO_PCI',
    flags: 3,
    vendor: 0x1dd8,
    devices: [0x1003],
    needs: ['the driver pds_core on its physical function, with live migration in its firmware'],
  },
  {
    module: 'xe_vfio_pci',
    config: 'CONFIG_XE_VFIO_PCI',
    flags: 3,
    vendor: 0x8086,
    devices: null,
    needs: ['the driver xe on its physical function, in its SR-IOV mode'],
  },
];

/** The base class of displays (PCI Code and ID Assignment Specification). */
const DISPLAY = 0x03;

/** The driver that would offer migration for a PCI device, whether or not this kernel has it; null: there is none. */
export function variantDriverFor(vendor: number, device: number, classCode: number): VariantDriver | null {
  const fits = ({ vendor: its, devices }: VariantDriver): boolean =>
    its === vendor && (devices === null ? classCode >> 16 === DISPLAY : devices.includes(device));
  return VARIANT_DRIVERS.find(fits) ?? null;
}

/** Whether a bound driver offers migration: one of ours, or the kernel's sample for mediated devices. */
export function offersMigration(driver: string): boolean {
  const name = driver.replaceAll('-', '_');
  return name === 'mtty' || VARIANT_DRIVERS.some(({ module }) => module === name);
}
