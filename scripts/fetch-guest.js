/**
 * Unpacks what the guest tests need beside the system: a QEMU that has vfio-user-pci, and Linux in two flavours, from
 * Debian's packages. Nothing is installed and nothing of it runs as part of the system; removing the folder removes
 * all. The archive is the one that this machine's own apt uses.
 *
 * The folder is $FERRY_GUEST_TREE, or ferry-guest in the user's cache. Its path is printed at the end.
 */
import { cacheFolder, fetchTree } from './debian-packages.js';

fetchTree('fetch-guest', process.env['FERRY_GUEST_TREE'] ?? cacheFolder('ferry-guest'), {
  packages: ['qemu-system-x86', 'linux-image-amd64', 'linux-image-cloud-amd64'],
  version: '1',
});
