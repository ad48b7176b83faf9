#!/usr/bin/env bash
# Makes a wheel that holds the package and the three shared libraries, for any Python 3 on this
# kind of machine. Builds in a folder of its own; touches neither build/ nor the sources. Needs a C
# compiler, cmake, ninja and python3 with pip, setuptools and wheel; nothing is downloaded.
#
#   runtime/python/build-wheel.sh [OUTPUT_DIR]      default: the current folder
set -euo pipefail
output=$(realpath -m "${1:-.}")
here=$(cd "$(dirname "$0")" && pwd)
source=$(cd "$here/../.." && pwd)
build=$source/build-wheel
python=${PYTHON:-/usr/bin/python3}

# XNNPACK is a second opinion that the runtime does not need. RPATH: beside each other.
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DVNET_XNNPACK=OFF \
  -DBUILD_TESTING=OFF -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON "-DCMAKE_INSTALL_RPATH=\$ORIGIN" \
  >/dev/null
cmake --build "$build" --target vnet vnet_segment vnet_scan

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
cp "$here/pyproject.toml" "$here/setup.py" "$here/README.md" "$stage"
mkdir -p "$stage/vnet/_libs" "$output"
cp "$here"/vnet/*.py "$here/vnet/py.typed" "$stage/vnet"
for name in libvnet libvnet-segment libvnet-scan; do
  # By their sonames, for a wheel has no links; older ones may lie beside them.
  link=$(find "$build/runtime" -name "$name.so")
  [ "$(wc -w <<<"$link")" -eq 1 ] || { echo "not one $name: $link" >&2; exit 1; }
  found=$(dirname "$link")/$(readlink "$link")
  install -m 755 "$found" "$stage/vnet/_libs/$(basename "$found")"
  strip --strip-unneeded "$stage/vnet/_libs/$(basename "$found")"
done
cp "$source/LICENSE" "$stage"
"$python" -m pip wheel --quiet --no-build-isolation --no-deps --no-index \
  --wheel-dir "$output" "$stage"
ls -l "$output"/vnet-*.whl
