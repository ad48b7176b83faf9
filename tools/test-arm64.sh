#!/usr/bin/env bash
# arm64 on an x86-64 machine: cross-compiled by Debian's gcc, every program and test run by qemu-user,
# results and plans compared with the table of x86 (README.md, "The promise"). Sets up a fresh Debian
# 12 by itself (as root).
#
#   tools/test-arm64.sh [all] [CTEST ARGUMENTS]
#
# all: those tests, too, that take qemu longer than they tell. Those that make no sense under qemu
# have the label `native`, where tests/CMakeLists.txt says why.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/packages.sh

left_out='^(native|slow)$'
if [ "${1:-}" = all ]; then
  left_out='^native$'
  shift
fi
install_packages gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user cmake ninja-build pkg-config \
  protobuf-c-compiler help2man "${SCAN_PACKAGES[@]}" "${TEST_PACKAGES[@]}"
tools/arm64/sysroot.sh arm64 build-arm64-sysroot libc6-dev libprotobuf-c-dev zlib1g-dev libpng-dev \
  libcmocka-dev libxxhash-dev libnifti-dev libxnnpack-dev libpthreadpool-dev
cmake --preset arm64 >/dev/null
cmake --build --preset arm64
exec ctest --test-dir build-arm64 -j "$(nproc)" --timeout 600 --output-on-failure -LE "$left_out" "$@"
