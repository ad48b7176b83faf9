#!/usr/bin/env bash
# Builds the project and runs every test. Sets up a fresh Debian 12 by itself (as root).
#
#   tools/test.sh [PRESET] [CTEST ARGUMENTS]
#
# PRESET: release (default), plain (without XNNPACK), clang, sanitize or sanitize-clang (addresses,
# what C leaves undefined), thread (races)
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/packages.sh

preset=release
case "${1:-}" in release | plain | clang | sanitize | sanitize-clang | thread) preset=$1 && shift ;; esac
folder=build
[ "$preset" = release ] || folder=build-$preset

install_packages "${BUILD_PACKAGES[@]}" "${SCAN_PACKAGES[@]}" "${TEST_PACKAGES[@]}" "${VIEWER_PACKAGES[@]}"
case $preset in *clang) install_packages "${CLANG_PACKAGES[@]}" ;; esac
cmake --preset "$preset" -DBUILD_TESTING=ON >/dev/null
cmake --build --preset "$preset"
exec ctest --test-dir "$folder" --output-on-failure "$@"
