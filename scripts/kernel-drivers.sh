#!/bin/sh
# A hook of mmdebstrap (scripts/fetch-kernels.js): in the tree $1, which has the kernel of the backports with its headers
# and compiler, unpacks the kernel of the release $2 as well, and builds the kernel's sample driver mtty for both, each
# from the source package of its version. For the newer one VFIO is built once more, with iommufd and files of devices,
# which Debian leaves out. Nothing of the machine itself is changed.
set -eu
tree=$1
suite=$2
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

# What the metapackage of the release stands for, such as 6.12.107+deb13-amd64.
stable=$(apt-cache show "linux-image-amd64/$suite" | sed -n 's/^Depends: linux-image-\([^ ,]*\).*/\1/p' | head -n 1)
base=${stable%-amd64}
apt-get download -qq "linux-image-$stable" "linux-headers-$stable" "linux-headers-$base-common" "linux-kbuild-$base"
for package in *.deb; do dpkg-deb -x "$package" "$tree"; done
rm -f ./*.deb

# mawk is awk by an alternative, which nobody has set up here.
ln -sf mawk "$tree/usr/bin/awk"

# Unpacks from the source package $1 the paths after it: the rest is large.
unpack() {
  package=$1
  shift
  apt-get download -qq "$package"
  dpkg-deb --fsys-tarfile "$package"_*.deb | tar -xO "./usr/src/$package.tar.xz" | tar -xJ "$@"
  rm -f ./*.deb
}

# Builds the modules of the folder $2, whose name is the same in the tree, for the kernel $1.
build() {
  release=$1
  folder=$2
  shift 2
  chroot "$tree" /usr/bin/make -s -C "/usr/src/linux-headers-$release" "M=$folder" "$@" modules
}

# Modules of VFIO with iommufd, for the kernel $1 from the sources $2, into the folder $3. They need nothing of the kernel
# that it does not have: what lib/interval_tree.c would offer with iommufd becomes a part of it. Fails when they are not
# there at the end.
with_iommufd() {
  parts=$tree/build/$1/iommufd
  mkdir -p "$parts" "$3"
  cp -r "$2/drivers/vfio" "$2/drivers/iommu/iommufd" "$2"/drivers/iommu/*.h "$2/samples/vfio-mdev/mtty.c" "$parts/"
  sed '/^EXPORT_SYMBOL/d' "$2/lib/interval_tree.c" > "$parts/iommufd/interval_tree.c"
  sed -i 's/^iommufd-y := /iommufd-y := interval_tree.o /' "$parts/iommufd/Makefile"
  printf '#include <linux/module.h>\nMODULE_LICENSE("GPL");\nMODULE_DESCRIPTION("IOVA bitmaps");\n' >> "$parts/iommufd/iova_bitmap.c"
  echo 'obj-m := vfio/ iommufd/ mtty.o' > "$parts/Makefile"
  defined='-DCONFIG_IOMMUFD_MODULE=1 -DCONFIG_IOMMUFD_DRIVER=1 -DCONFIG_VFIO_DEVICE_CDEV=1'
  build "$1" "/build/$1/iommufd" CONFIG_IOMMUFD=m CONFIG_IOMMUFD_DRIVER=m CONFIG_VFIO_DEVICE_CDEV=y \
    "KCFLAGS=$defined -DCONFIG_INTERVAL_TREE_SPAN_ITER=1"
  find "$parts" -name '*.ko' -exec strip --strip-debug {} ';' -exec cp {} "$3/" ';'
  mv "$3/mtty.ko" "$3/mtty"
  xz -1 "$3"/*.ko
  mv "$3/mtty" "$3/mtty.ko"
  [ -s "$3/mtty.ko" ] && [ -s "$3/iommufd.ko.xz" ] && [ -s "$3/vfio-pci.ko.xz" ]
}

for headers in "$tree"/usr/src/linux-headers-*-amd64; do
  release=${headers##*/linux-headers-}
  modules=$tree/usr/lib/modules/$release
  source=linux-source-$(echo "$release" | cut -d. -f1,2)
  if [ -e "$tree/boot/vmlinuz-$release" ]; then mv "$tree/boot/vmlinuz-$release" "$modules/vmlinuz"; fi
  # How the kernel was built, for who asks in a guest.
  if [ -e "$tree/boot/config-$release" ]; then mv "$tree/boot/config-$release" "$modules/config"; fi
  unpack "$source" "$source/samples/vfio-mdev/mtty.c" "$source/drivers/vfio" "$source/drivers/iommu" \
    "$source/lib/interval_tree.c"
  mkdir -p "$tree/build/$release/mtty"
  cp "$source/samples/vfio-mdev/mtty.c" "$tree/build/$release/mtty/"
  echo 'obj-m := mtty.o' > "$tree/build/$release/mtty/Makefile"
  # It reads and writes files only, and needs no /proc.
  build "$release" "/build/$release/mtty"
  cp "$tree/build/$release/mtty/mtty.ko" "$modules/"
  # A version to come may need more than that: its tests are skipped then, and say so.
  if [ "$release" != "$stable" ] && ! with_iommufd "$release" "$source" "$modules/iommufd"; then
    echo "VFIO could not be built with iommufd for $release" >&2
    rm -rf "$modules/iommufd"
  fi
  rm -rf "$source"
done
