#!/usr/bin/env bash
# WebAssembly, its npm package and examples/web, built and tested in Debian's Chromium. Sets up a
# fresh Debian 12 by itself (as root). Pictures of the page are in build-web/pictures.
#
#   tools/test-web.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/packages.sh

install_packages "${BUILD_PACKAGES[@]}" "${SCAN_PACKAGES[@]}" "${WEB_PACKAGES[@]}"
command -v npm >/dev/null || install_packages nodejs npm # Node's own packages bring npm along
cmake --preset release >/dev/null
cmake --build build --target vnet-run vnetc vnet-model # what the results are compared with

examples/web/build.sh
npm ci --prefix tests/web --ignore-scripts --no-audit --no-fund --silent
tests/web/node_modules/.bin/tsc -p tests/web
tests/golden/promise/promise.sh build/tools build-web/promised
node build-web/tests/web/promise.js tests/golden/promise/table.txt build-web/promised wasm
node tests/web/run.mjs
