#!/usr/bin/env bash
# Builds the zip for Windows x86-64 and tries it under wine, beside this system's own programs. Sets
# up a fresh Debian 12 by itself (as root).
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/packages.sh
install_packages "${BUILD_PACKAGES[@]}" "${SCAN_PACKAGES[@]}"
tools/windows/deps.sh

cmake --preset release >/dev/null
cmake --build build --target vnetc vnet-run vnet-model # what the results are compared with
cmake --preset windows >/dev/null
cmake --build --preset windows
ctest --test-dir build-windows --output-on-failure
rm -f build-windows/vnet-*-windows-x86_64.zip # of other versions
(cd build-windows && cpack >/dev/null)
/usr/bin/python3 tests/windows/run_windows.py build-windows/vnet-*-windows-x86_64.zip build/tools \
  tests/fixtures . /usr/share/mricron/templates/ch2.nii.gz
