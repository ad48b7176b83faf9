#!/usr/bin/env bash
# The kernel checker for arm64 on an x86-64 machine: cross-compiled by Debian's toolchain, run by
# qemu-user. Without XNNPACK, which is no kernel of ours. Needs root once, for packages; takes about
# two minutes.
#
#   tests/check/neon.sh [SCRATCH_DIR] [CHECKER OPTIONS]
set -euo pipefail
cd "$(dirname "$0")/../.."
. tools/packages.sh
scratch=${1:-build/neon}
[ $# -gt 0 ] && shift
mkdir -p "$scratch/include"
scratch=$(cd "$scratch" && pwd)
install_packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user libxxhash-dev

cp /usr/include/xxhash.h "$scratch/include"
cc() {
  aarch64-linux-gnu-gcc -std=gnu11 -O2 -ffp-contract=off -Wall -Wextra -Werror -D_GNU_SOURCE \
    -Iruntime -Iruntime/include -Ischemas -I"$scratch/include" "$@"
}
objects=()
for isa in portable neon; do
  for source in runtime/kernels/simd/*.c tests/check/peak.c; do
    object=$scratch/$(basename "$source" .c)_$isa.o
    cc -DVN_ISA=$isa -c "$source" -o "$object"
    objects+=("$object")
  done
done
for source in runtime/*.c runtime/kernels/ref/*.c tests/check/*.c; do
  [ "$source" = tests/check/peak.c ] && continue
  object=$scratch/$(basename "$source" .c).o
  cc -c "$source" -o "$object"
  objects+=("$object")
done
aarch64-linux-gnu-gcc "${objects[@]}" -pthread -lm -o "$scratch/vnet-check"
exec qemu-aarch64 -L /usr/aarch64-linux-gnu "$scratch/vnet-check" --isa neon --seed 1 "$@"
