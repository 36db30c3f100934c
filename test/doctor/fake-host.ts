import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Host } from '../../src/doctor/index.ts';

/** Files of a machine: a text, or a link as `-> where`. */
export type Tree = Readonly<Record<string, string>>;

/** A machine made of files in a folder of its own, which {@link close} removes. */
export class FakeHost extends Host {
  constructor(tree: Tree, caller = { uid: 0, gids: [0] }) {
    super(mkdtempSync(join(tmpdir(), 'ferry-doctor-')), caller);
    for (const [path, content] of Object.entries(tree)) this.#put(path, content);
  }

  #put(path: string, content: string): void {
    const at = this.path(path);
    mkdirSync(dirname(at), { recursive: true });
    if (content.startsWith('-> ')) symlinkSync(content.slice(3), at);
    else if (path.endsWith('/')) mkdirSync(at, { recursive: true });
    else writeFileSync(at, `${content}\n`);
  }

  close(): void {
    rmSync(this.root, { recursive: true });
  }
}

const RELEASE = '6.12.0-test';
const PCI = 'sys/bus/pci/devices';

/** A machine whose kernel has all of VFIO, with an IOMMU. /dev's files are plain ones: tests may not make others. */
export const READY: Tree = {
  'proc/sys/kernel/osrelease': RELEASE,
  'proc/cmdline': 'quiet intel_iommu=on',
  [`boot/config-${RELEASE}`]:
    'CONFIG_VFIO=m\nCONFIG_VFIO_IOMMU_TYPE1=m\nCONFIG_IOMMUFD=m\nCONFIG_IOMMUFD_DRIVER=y\nCONFIG_VFIO_DEBUGFS=y\nCONFIG_MLX5_VFIO_PCI=m',
  [`lib/modules/${RELEASE}/modules.dep`]:
    'kernel/drivers/vfio/vfio.ko.xz:\nkernel/drivers/vfio/pci/mlx5/mlx5-vfio-pci.ko: x',
  [`lib/modules/${RELEASE}/modules.alias`]:
    'alias vfio_pci:v*d*sv*sd*bc*sc*i* vfio_pci\nalias vfio_pci:v000015B3d0000101Esv*sd*bc*sc*i* mlx5_vfio_pci',
  'sys/module/vfio/x': '',
  'sys/module/vfio_pci/x': '',
  'sys/module/vfio_iommu_type1/x': '',
  'sys/class/iommu/dmar0': '',
  'sys/firmware/acpi/tables/DMAR': '',
  'sys/kernel/debug/vfio/x': '',
  'dev/vfio/vfio': '',
  'dev/iommu': '',
};

/** A PCI device in a group of IOMMU; without `driver` nothing is bound. */
export function pciDevice(
  address: string,
  {
    id = '0x15b3:0x101e',
    classCode = '0x020000',
    group = '7',
    driver = null as string | null,
    physfn = true,
  },
): Tree {
  const [vendor = '', device = ''] = id.split(':');
  const digits = (text: string): string => text.slice(2).toUpperCase().padStart(8, '0');
  return {
    [`${PCI}/${address}/vendor`]: vendor,
    [`${PCI}/${address}/device`]: device,
    [`${PCI}/${address}/class`]: classCode,
    [`${PCI}/${address}/modalias`]: `pci:v${digits(vendor)}d${digits(device)}sv00000000sd00000000bc02sc00i00`,
    [`${PCI}/${address}/iommu_group`]: `-> ../../../kernel/iommu_groups/${group}`,
    [`sys/kernel/iommu_groups/${group}/devices/${address}`]: '',
    [`dev/vfio/${group}`]: '',
    ...(driver === null ? {} : { [`${PCI}/${address}/driver`]: `-> ../../../bus/pci/drivers/${driver}` }),
    ...(physfn ? { [`${PCI}/${address}/physfn`]: '-> ../0000:01:00.0' } : {}),
  };
}
