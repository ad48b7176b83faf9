#!/usr/bin/env bash
# First inputs of every fuzz target, from fixtures, Debian's libonnx-testdata and make_seeds.py.
#
#   seeds.sh FOLDER VNETC      FOLDER/TARGET/…
set -euo pipefail
folder=$1 vnetc=$2
here=$(cd "$(dirname "$0")" && pwd)
fixtures=$here/../fixtures
mkdir -p "$folder/model" "$folder/plan"
/usr/bin/python3 "$here/make_seeds.py" "$folder"

find "$fixtures/models" -name '*.onnx' -size -40k -exec cp -t "$folder/model" {} +
find /usr/share/libonnx-testdata/data -name model.onnx -size -8k | while read -r model; do
  cp "$model" "$folder/model/$(basename "$(dirname "$model")").onnx"
done
for model in "$folder"/model/*.onnx; do
  plan=$folder/plan/$(basename "$model" .onnx).plan
  for patch in "" "--patch 8x8x8"; do
    # shellcheck disable=SC2086
    "$vnetc" "$model" --topology any $patch -o "$plan" >/dev/null 2>&1 && break
  done
done
find "$folder/plan" -size +24k -delete
