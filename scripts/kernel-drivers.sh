#!/bin/sh
# A hook of mmdebstrap (scripts/fetch-kernels.js): in the tree $1, which has the kernel of the backports with its headers
# and compiler, unpacks the kernel of the release $2 as well, and builds the kernel's sample driver mtty for both, each
# from the source package of its version. Nothing of the machine itself is changed.
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

for headers in "$tree"/usr/src/linux-headers-*-amd64; do
  release=${headers##*/linux-headers-}
  modules=$tree/usr/lib/modules/$release
  source=linux-source-$(echo "$release" | cut -d. -f1,2)
  if [ -e "$tree/boot/vmlinuz-$release" ]; then mv "$tree/boot/vmlinuz-$release" "$modules/vmlinuz"; fi
  mkdir -p "$tree/build/$release"
  apt-get download -qq "$source"
  # Only one file of the sources is unpacked: the rest is large. Who is not read to the end complains of that.
  dpkg-deb --fsys-tarfile "$source"_*.deb 2> /dev/null | tar -xO "./usr/src/$source.tar.xz" |
    tar -xJO --occurrence=1 "$source/samples/vfio-mdev/mtty.c" > "$tree/build/$release/mtty.c" || true
  rm -f ./*.deb
  [ -s "$tree/build/$release/mtty.c" ]
  echo 'obj-m := mtty.o' > "$tree/build/$release/Makefile"
  # It reads and writes files only, and needs no /proc.
  chroot "$tree" /usr/bin/make -s -C "/usr/src/linux-headers-$release" "M=/build/$release" modules
  cp "$tree/build/$release/mtty.ko" "$modules/"
done
