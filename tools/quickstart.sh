#!/usr/bin/env bash
# From a clone to a segmented scan: builds, and finds the brain and its parts on a real head scan with
# the shipped models. Sets up a fresh Debian 12 by itself (as root); run it again at no cost.
#
#   tools/quickstart.sh [SCAN.nii[.gz]]
set -euo pipefail
scan=$(realpath -m "${1:-/usr/share/mricron/templates/ch2.nii.gz}")
cd "$(dirname "$0")/.."
. tools/packages.sh

out=build/quickstart
install_packages "${BUILD_PACKAGES[@]}" "${SCAN_PACKAGES[@]}"
cmake --preset release >/dev/null
cmake --build --preset release
mkdir -p "$out"

echo
echo "== find the brain on $scan with the first of the shipped models (models/README.md)"
build/tools/vnet-run brain "$scan" -o "$out/brain.nii.gz" --largest-component \
  --picture "$out/brain.png"

echo
echo "== and its parts with the second: a row for each, with its volume in ml"
build/tools/vnet-run brain-parts "$scan" -o "$out/parts.nii.gz" --picture "$out/parts.png" --csv

echo
echo "The label maps, on the scan's own grid: $PWD/$out/brain.nii.gz, $PWD/$out/parts.nii.gz"
echo "Pictures to look at: $PWD/$out/brain.png, $PWD/$out/parts.png"
