#!/usr/bin/env bash
# From a clone to a segmented scan: builds, compiles a model to a plan, segments a real head scan.
# Sets up a fresh Debian 12 by itself (as root); run it again at no cost.
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
echo "== the model: no trained model is shipped yet, so this one is untrained (seeded weights);"
echo "   its segmentation shows that the chain works and means nothing"
build/tools/vnet-model --member vnet --width 4 --classes 2 --patch 64x96x96 --seed 1 --tail softmax \
  --orientation RAS --intensity zscore -o "$out/untrained.onnx"

echo "== compile"
build/tools/vnetc "$out/untrained.onnx" -o "$out/untrained.plan"

echo "== segment $scan"
build/tools/vnet-run "$out/untrained.plan" "$scan" -o "$out/result.nii.gz" --picture "$out/result.png"

echo
echo "The segmentation, on the scan's own grid: $PWD/$out/result.nii.gz"
echo "Its picture: $PWD/$out/result.png"
