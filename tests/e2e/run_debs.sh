#!/usr/bin/env bash
# The Debian packages on a machine that has nothing else: cpack, a bare Debian made by debootstrap,
# the packages with what they depend on, the programs on a scan, and all of it gone again.
#
#   run_debs.sh SOURCE_DIR BUILD_DIR PYTHON [ROOT]     ROOT: a bare root to copy, else one is made
#
# Needs root and a Debian mirror (a minute or two); exits with 77 (skipped) without root,
# debootstrap or the mirror.
set -euo pipefail
source_dir=$1 build=$2 python=$3 template=${4:-}
phantom=$source_dir/tests/e2e/head_phantom.py
folder=$(mktemp -d --tmpdir vnet-debs-XXXXXX)
root=$folder/root
trap 'rm -rf --one-file-system "$folder"' EXIT
fail() {
  echo "FAILED: $*"
  exit 1
}

[ "$(id -u)" -eq 0 ] || exit 77
command -v debootstrap >/dev/null || exit 77
# The mirror that this machine uses.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
  sed -n 's|^URIs: *\(http[^ ]*/debian\)/* *$|\1|p; s|^deb \(http[^ ]*/debian\)/* .*|\1|p' |
  sed -n 1p) || true
if [ -n "$template" ]; then
  cp -a "$template" "$root"
else
  debootstrap --variant=minbase bookworm "$root" "${mirror:-http://deb.debian.org/debian}" \
    >"$folder/debootstrap.log" 2>&1 || { tail -3 "$folder/debootstrap.log" && exit 77; }
fi

cpack --config "$build/CPackConfig.cmake" -B "$folder/debs" >"$folder/cpack.log" 2>&1 ||
  { cat "$folder/cpack.log" && fail cpack; }
mkdir "$root/debs"
cp "$folder"/debs/*.deb "$root/debs"
(cd "$root/debs" && ls -l -- *.deb)
names=$(for deb in "$root"/debs/*.deb; do dpkg-deb -f "$deb" Package; done)
[ "$(echo $names)" = "libvnet-dev libvnet0.2 vnet-tools" ] || fail "packages: $names"
for deb in "$root"/debs/*.deb; do
  for field in Depends Maintainer Description Section; do
    [ -n "$(dpkg-deb -f "$deb" $field)" ] || fail "$deb has no $field"
  done
done

inside() { chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
inside apt-get update -qq >/dev/null
inside sh -c 'apt-get install -y -qq --no-install-recommends /debs/*.deb' >"$folder/apt.log" 2>&1 ||
  { tail "$folder/apt.log" && fail "packages do not install"; }
libraries=/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH)
for name in vnet vnet-segment vnet-scan; do
  [ -e "$root$libraries/lib$name.so.0.2" ] && [ -e "$root$libraries/lib$name.a" ] ||
    fail "lib$name is not in $libraries"
done
inside ldconfig -p | grep 'libvnet-scan\.so\.0\.2' >/dev/null || fail "ldconfig does not know the libraries"

for name in $names; do
  mapfile -t files < <(inside dpkg -L "$name" | sed "s|^|$root|" | while read -r file; do
    [ ! -f "$file" ] || [ -L "$file" ] || [[ $file = */sbom.cdx.json ]] || echo "$file"
  done)
  "$python" "$source_dir/tests/e2e/sbom.py" "$root/usr/share/doc/$name/sbom.cdx.json" "$root" \
    "${files[@]}" || fail "the bill of materials of $name"
done

# The same bytes as on this machine.
for program in vnetc vnet-run vnet-plan vnet-bench vnet-model vnet-train; do
  inside $program --version | grep '[0-9]\.[0-9]' >/dev/null || fail "$program --version"
done
"$python" "$phantom" write "$folder/head.nii.gz"
cp "$folder/head.nii.gz" "$root/debs"
model=(vnet-model --member vnet-caffe --width 4 --classes 3 --patch 32x48x48 --orientation RAS
  --spacing '2 2 2' --intensity zscore)
"$build/tools/${model[0]}" "${model[@]:1}" -o "$folder/m.onnx"
"$build/tools/vnetc" "$folder/m.onnx" -o "$folder/m.plan"
"$build/tools/vnet-run" "$folder/m.plan" "$folder/head.nii.gz" -o "$folder/seg.nii.gz" >/dev/null
inside "${model[@]}" -o /debs/m.onnx
inside vnetc /debs/m.onnx -o /debs/m.plan
inside vnet-plan /debs/m.plan >/dev/null
inside vnet-run /debs/m.plan /debs/head.nii.gz -o /debs/seg.nii.gz >/dev/null
"$python" "$phantom" compare "$folder/seg.nii.gz" "$root/debs/seg.nii.gz"
inside vnet-run -q brain /debs/head.nii.gz -o /debs/brain.nii.gz || fail "no brain by its name"
# An ONNX model in a plan's place, compiled by the package's own vnetc.
rm "$root/debs/m.plan"
inside vnet-run -q /debs/m.onnx /debs/head.nii.gz -o /debs/seg.nii.gz
"$python" "$phantom" compare "$folder/seg.nii.gz" "$root/debs/seg.nii.gz"

# What libvnet-dev says of its places, to this machine's compiler.
mkdir "$folder/host"
cp "$source_dir/examples/segment.c" "$folder/host"
cat >"$folder/host/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.16)
project(host LANGUAGES C)
find_package(vnet 0.2 REQUIRED)
foreach(kind "" _static)
  add_executable(host${kind} segment.c)
  target_link_libraries(host${kind} PRIVATE vnet::segment${kind})
endforeach()
END
{ cmake -S "$folder/host" -B "$folder/host/build" -DCMAKE_PREFIX_PATH="$root/usr" &&
  cmake --build "$folder/host/build"; } >"$folder/host/log" 2>&1 ||
  { cat "$folder/host/log" && fail "a host by CMake"; }
# shellcheck disable=SC2046 # flags are words
cc "$folder/host/segment.c" $(PKG_CONFIG_LIBDIR=$root/usr/lib/pkgconfig:$root$libraries/pkgconfig \
  pkg-config --cflags --libs vnet-segment) -o "$folder/host/segment" || fail "a host by pkg-config"

# Removed, nothing of ours is left: no file of the packages, no name of theirs, no loader entry.
for deb in "$root"/debs/*.deb; do
  dpkg-deb --fsys-tarfile "$deb" | tar t | grep -v '/$' | sed 's|^\.||'
done >"$folder/files.txt"
[ "$(wc -l <"$folder/files.txt")" -ge 40 ] || fail "packages without files"
# shellcheck disable=SC2086 # names are words
inside dpkg --purge $names >/dev/null
while read -r file; do
  [ ! -e "$root$file" ] && [ ! -L "$root$file" ] || fail "left: $file"
done <"$folder/files.txt"
rm -r "$root/debs"
left=$(find "$root" -xdev -name '*vnet*' ! -path '*/var/lib/apt/*')
[ -z "$left" ] || fail "left: $left"
! inside ldconfig -p | grep vnet || fail "the loader still knows the libraries"
