#!/usr/bin/env bash
# Puts the page together: a folder that any static server can serve. Needs emscripten, node, npm (for
# NiiVue), and build/ with vnetc, for the model.
#
#   examples/web/build.sh [OUTPUT_DIR]      default: build-web/page
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
output=$(realpath -m "${1:-build-web/page}")
modules=build-web/page-modules

runtime/web/build-package.sh
mkdir -p "$modules" "$output/vnet"
cp "$here"/package*.json "$modules"
npm ci --prefix "$modules" --ignore-scripts --no-audit --no-fund --silent
cp "$modules/node_modules/@niivue/niivue/dist/index.js" "$output/niivue.js"
cp build-web/package/*.js build-web/package/*.wasm "$output/vnet"
build/tools/vnetc -q models/brain.onnx -o "$output/brain.plan"
cp "$here"/{index.html,style.css,main.js} "$output"
rm -f "$output/offline.js" # whose name for all of it is made of the rest
version=$(cat "$output"/*.{html,css,js,plan} "$output"/vnet/* | sha256sum | cut -c1-16)
sed "s/vnet-VERSION/vnet-$version/" "$here/offline.js" >"$output/offline.js"
echo "the page is in $output"
