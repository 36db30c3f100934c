/**
 * Makes what the kernel tests need beside QEMU: two versions of Debian's Linux, each with the kernel's own sample
 * driver mtty, which Debian does not ship. It is built from Debian's source package of that version against the
 * headers that belong to the kernel; for the newer version also VFIO with iommufd, which Debian does not build. Only
 * kernels, modules and those drivers are kept.
 *
 * The folder is $FERRY_KERNEL_TREE, or ferry-kernels in the user's cache. Its path is printed at the end.
 */
import { fileURLToPath } from 'node:url';
import { cacheFolder, fetchTree, SUITE } from './debian-packages.js';

/** What a build needs beside the compiler, which the headers bring along. */
const TOOLS = ['base-files', 'binutils', 'coreutils', 'dash', 'grep', 'make', 'mawk', 'sed'];
/** What is of no use when the drivers are built. */
const WASTE = [
  ...['bin', 'boot', 'build', 'etc', 'home', 'lib', 'lib64', 'media', 'mnt', 'opt', 'proc', 'root', 'run'],
  ...['sbin', 'srv', 'sys', 'tmp', 'usr/bin', 'usr/include', 'usr/lib/gcc', 'usr/lib/x86_64-linux-gnu'],
  ...['usr/libexec', 'usr/sbin', 'usr/share', 'usr/src', 'var'],
];

const hook = fileURLToPath(new URL('kernel-drivers.sh', import.meta.url));

fetchTree('fetch-kernels', process.env['FERRY_KERNEL_TREE'] ?? cacheFolder('ferry-kernels'), {
  packages: [...TOOLS, 'linux-image-amd64', 'linux-headers-amd64'],
  version: '3',
  hooks: [`sh '${hook}' "$1" ${SUITE}`],
  waste: WASTE,
});
