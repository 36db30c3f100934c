/**
 * Makes what the kernel tests need beside QEMU: two versions of Debian's Linux, each with the kernel's own sample
 * driver mtty, which Debian does not ship. It is built here from Debian's source package against the headers of each
 * version, with the compiler that belongs to them. Only kernels, modules and the two drivers are kept.
 *
 * The folder is $FERRY_KERNEL_TREE, or ferry-kernels in the user's cache. Its path is printed at the end.
 */
import { cacheFolder, fetchTree } from './debian-packages.js';

/** The version of Debian's stable release. Its mtty builds against later headers too; the reverse is not so. */
const STABLE = '6.12';
/** Not the flavours cloud and rt, which have another word before the architecture. */
const ofStable = (/** @type {string} */ what) =>
  `?name(^linux-${what}-${STABLE.replaceAll('.', '[.]')}[.][0-9+a-z~]*-amd64$)`;
/** What a build needs beside the compiler, which the headers bring along. */
const TOOLS = ['base-files', 'coreutils', 'dash', 'grep', 'make', 'mawk', 'sed'];

const SOURCE = `linux-source-${STABLE}`;
/** No network, no /proc: the build reads and writes files only. */
const BUILD = `set -e
ln -sf mawk "$1/usr/bin/awk"
cd "$1/usr/src"
tar -xJf ${SOURCE}.tar.xz --occurrence=1 ${SOURCE}/samples/vfio-mdev/mtty.c
for headers in linux-headers-*-amd64; do
  release=\${headers#linux-headers-}
  modules="$1/usr/lib/modules/$release"
  if [ -e "$1/boot/vmlinuz-$release" ]; then mv "$1/boot/vmlinuz-$release" "$modules/vmlinuz"; fi
  mkdir -p "$1/build/$release"
  cp ${SOURCE}/samples/vfio-mdev/mtty.c "$1/build/$release/"
  echo 'obj-m := mtty.o' > "$1/build/$release/Makefile"
  chroot "$1" /usr/bin/make -s -C "/usr/src/$headers" "M=/build/$release" modules
  cp "$1/build/$release/mtty.ko" "$modules/"
done`;

fetchTree('fetch-kernels', process.env['FERRY_KERNEL_TREE'] ?? cacheFolder('ferry-kernels'), {
  packages: [
    ...TOOLS,
    'linux-image-amd64',
    'linux-headers-amd64',
    SOURCE,
    ofStable('image'),
    ofStable('headers'),
  ],
  version: '1',
  hooks: [BUILD],
  waste: [
    'bin',
    'boot',
    'build',
    'etc',
    'lib',
    'lib64',
    'sbin',
    'tmp',
    'usr/bin',
    'usr/include',
    'usr/lib/gcc',
    'usr/lib/x86_64-linux-gnu',
    'usr/libexec',
    'usr/sbin',
    'usr/share',
    'usr/src',
    'var',
  ],
});
