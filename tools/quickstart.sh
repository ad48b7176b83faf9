#!/usr/bin/env bash
# From a clone to a segmented scan: builds, compiles the shipped model, finds the brain on a real
# head scan. Sets up a fresh Debian 12 by itself (as root); run it again at no cost.
#
#   tools/quickstart.sh [SCAN.nii[.gz]]
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/packages.sh

scan=${1:-/usr/share/mricron/templates/ch2.nii.gz}
out=build/quickstart
install_packages "${BUILD_PACKAGES[@]}" "${SCAN_PACKAGES[@]}"
cmake --preset release -DBUILD_TESTING=OFF >/dev/null
cmake --build --preset release
mkdir -p "$out"

echo
echo "== compile the shipped model: brain extraction, any contrast (models/README.md)"
build/tools/vnetc models/brain.onnx -o "$out/brain.plan"

echo "== segment $scan"
build/tools/vnet-run "$out/brain.plan" "$scan" -o "$out/brain.nii.gz" --largest-component \
  --picture "$out/brain.png"

echo
echo "The brain, on the scan's own grid: $PWD/$out/brain.nii.gz"
echo "Its picture: $PWD/$out/brain.png"
