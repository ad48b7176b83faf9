#!/usr/bin/env bash
# The example viewer as a host's programmer builds it: from an installed prefix, not from the tree.
#
#   viewer.sh SOURCE_DIR BUILD_DIR SCAN
#
# Installs BUILD_DIR into a folder of its own, builds examples/viewer against that, and hands it to
# run_viewer.py with the shipped model. Exits with 77 (skipped) without GTK 4 or SCAN.
set -euo pipefail
source_dir=$1 build_dir=$2 scan=$3
pkg-config --exists 'gtk4 >= 4.8' || { echo "skipped: no GTK 4"; exit 77; }
[ -e "$scan" ] || { echo "skipped: no $scan"; exit 77; }

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix
cmake --install "$build_dir" --prefix "$prefix" >/dev/null
cp -r "$source_dir/examples/viewer" "$scratch/viewer" # nothing above it can help
cmake -S "$scratch/viewer" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$prefix" \
  -DCMAKE_C_FLAGS=-Werror >/dev/null
cmake --build "$scratch/build" >/dev/null
"$prefix/bin/vnetc" "$source_dir/models/brain.onnx" -o "$scratch/brain.plan" >/dev/null
/usr/bin/python3 "$source_dir/tests/e2e/run_viewer.py" "$scratch/build/vnet-viewer" \
  "$scratch/brain.plan" "$scan" "$prefix/bin/vnet-run"
