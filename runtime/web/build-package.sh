#!/usr/bin/env bash
# Puts the npm package together: both builds of the library, with threads and without, and the
# JavaScript around them. Needs emscripten and what the presets `web` and `web-threads` need.
#
#   runtime/web/build-package.sh [OUTPUT_DIR]      default: build-web/package
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
output=$(realpath -m "${1:-build-web/package}")
mkdir -p "$output"

for preset in web web-threads; do
  cmake --preset "$preset" >/dev/null
  cmake --build --preset "$preset"
  cp "build-$preset"/runtime/web/vnet*.js "build-$preset"/runtime/web/vnet*.wasm "$output"
done
cp "$here"/package/* LICENSE "$output"
