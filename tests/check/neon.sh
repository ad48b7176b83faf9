#!/usr/bin/env bash
# The kernel checker for arm64 on an x86-64 machine: cross-compiled by Debian's toolchain, run by
# qemu-user. Needs root once, for packages; takes about two minutes.
#
#   tests/check/neon.sh [SCRATCH_DIR] [CHECKER OPTIONS]
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/packages.sh
scratch=${1:-build/neon}
[ $# -gt 0 ] && shift
mkdir -p "$scratch"
scratch=$(cd "$scratch" && pwd)
install_packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user libxxhash-dev

# arm64's libraries are unpacked, not installed: their -dev packages exclude this machine's own.
libraries=(libxnnpack-dev libxnnpack0 libpthreadpool-dev libpthreadpool0 libcpuinfo0)
if [ ! -e "$scratch/root/usr/include/xnnpack.h" ]; then
  dpkg --add-architecture arm64
  apt-get update -qq
  (cd "$scratch" && apt-get download -qq "${libraries[@]/%/:arm64}" &&
    for package in *.deb; do dpkg -x "$package" root; done)
fi

usr=$scratch/root/usr
lib=$usr/lib/aarch64-linux-gnu
mkdir -p "$scratch/include"
cp /usr/include/xxhash.h "$scratch/include"
cc() {
  aarch64-linux-gnu-gcc -std=gnu11 -O2 -ffp-contract=off -Wall -Wextra -Werror -D_GNU_SOURCE \
    -DVN_XNN_API=2022 -Iruntime -Iruntime/include -Ischemas -I"$usr/include" \
    -I"$scratch/include" "$@"
}
objects=()
for isa in portable neon; do
  for source in runtime/kernels/simd/*.c tests/check/peak.c; do
    object=$scratch/$(basename "$source" .c)_$isa.o
    cc -DVN_ISA=$isa -c "$source" -o "$object"
    objects+=("$object")
  done
done
for source in runtime/*.c runtime/kernels/ref/*.c runtime/kernels/xnnpack/*.c tests/check/*.c; do
  [ "$source" = tests/check/peak.c ] && continue
  object=$scratch/$(basename "$source" .c).o
  cc -c "$source" -o "$object"
  objects+=("$object")
done
aarch64-linux-gnu-gcc "${objects[@]}" -L"$lib" -Wl,-rpath-link,"$lib" -lXNNPACK -lpthreadpool -lm \
  -o "$scratch/vnet-check"
exec qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$lib" "$scratch/vnet-check" \
  --isa neon --seed 1 "$@"
