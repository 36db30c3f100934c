import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cpio } from '../../guest/harness/cpio.ts';
import { READY } from '../../guest/harness/initramfs.ts';
import { type Module, withDependencies } from '../../guest/harness/kernels.ts';
import { busyboxPath } from '../../guest/harness/programs.ts';
import type { DriverKernel } from './kernels.ts';

/** In the order in which they are loaded, each with what it depends on. */
const MODULES = ['virtio_pci', '9pnet_virtio', '9p', 'vfio', 'vfio_iommu_type1', 'vfio_pci', 'mdev'] as const;
/** Where the guest has this machine's files, to read. */
export const HOST = '/host';

/** It becomes the shell of test/guest/harness/console.ts, in the file system of this machine. */
const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in $(cat /modules/order); do insmod /modules/$module.ko || echo "insmod $module failed"; done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host ${HOST} || echo "no files of the host"
for each in proc sys dev; do mount -o bind /$each ${HOST}/$each; done
mount -t tmpfs run ${HOST}/run
dmesg -n 1
stty -F /dev/ttyS0 -echo -onlcr
echo '${READY}'
while read -r id command; do
  ( eval "$command" ) </dev/null 2>&1
  printf '\\n@%s %s\\n' "$id" "$?"
done
`;

/** Builds the initramfs for a kernel in `folder`; returns its path. */
export function buildInitramfs(kernel: DriverKernel, folder: string): string {
  const modules = new Map<string, Module>();
  for (const name of MODULES) {
    for (const module of withDependencies(kernel, name)) modules.set(module.name, module);
  }
  modules.set('mtty', { name: 'mtty', content: readFileSync(kernel.mtty) });
  const path = join(folder, 'initramfs');
  const archive = cpio(
    ['bin', 'dev', 'proc', 'sys', 'modules', HOST.slice(1)],
    [
      { path: 'init', content: INIT },
      { path: 'bin/busybox', content: readFileSync(busyboxPath()) },
      { path: 'modules/order', content: [...modules.keys()].join('\n') },
      ...[...modules.values()].map(({ name, content }) => ({ path: `modules/${name}.ko`, content })),
    ],
  );
  writeFileSync(path, archive);
  return path;
}
