import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cpio } from './cpio.ts';
import { type Kernel, type Module, withDependencies } from './kernels.ts';
import { busyboxPath } from './programs.ts';

/** Modules that tests load, where a kernel has them. */
const MODULES = ['uio_pci_generic', 'gpio_pci_idio_16', 'nvme', 'ext4'] as const;

/** What the guest says when it takes commands; see console.ts. */
export const READY = '@guest-ready';

/**
 * The first and only process of the guest. It answers each line `<id> <command>` with what the command prints and a
 * line `@<id> <status>`. The kernel may not write to the same console meanwhile: its log is read on demand.
 */
const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
dmesg -n 1
stty -F /dev/ttyS0 -echo -onlcr
echo '${READY}'
while read -r id command; do
  ( eval "$command" ) </dev/null 2>&1
  printf '\\n@%s %s\\n' "$id" "$?"
done
`;

/** An initramfs and how to load its modules. */
export interface Initramfs {
  readonly path: string;
  /** For each module that the kernel has: it and its dependencies, in order. */
  readonly loadOrder: ReadonlyMap<string, readonly string[]>;
}

/** Builds the initramfs for a kernel in `folder`. */
export function buildInitramfs(
  kernel: Kernel,
  programs: ReadonlyMap<string, string>,
  folder: string,
): Initramfs {
  const modules = new Map<string, Module>();
  const loadOrder = new Map<string, readonly string[]>();
  for (const name of MODULES) {
    const order = withDependencies(kernel, name);
    if (order.length === 0) continue;
    for (const module of order) modules.set(module.name, module);
    loadOrder.set(
      name,
      order.map((module) => module.name),
    );
  }
  const path = join(folder, `initramfs-${kernel.flavour}`);
  writeFileSync(
    path,
    cpio(
      ['bin', 'dev', 'proc', 'sys', 'tmp', 'modules'],
      [
        { path: 'init', content: INIT },
        { path: 'bin/busybox', content: readFileSync(busyboxPath()) },
        ...[...programs].map(([name, file]) => ({ path: `bin/${name}`, content: readFileSync(file) })),
        ...[...modules.values()].map(({ name, content }) => ({ path: `modules/${name}.ko`, content })),
      ],
    ),
  );
  return { path, loadOrder };
}
