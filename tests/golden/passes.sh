#!/usr/bin/env bash
# What the compiler makes of a graph, stage by stage, against committed text.
#
#   passes.sh VNETC FIXTURES_DIR [--update]
#
# passes/NAME.txt is what `vnetc -d isnbfck` prints for the fixture NAME: as imported, simplified,
# functions named, BatchNorm folded, fused, concats aliased, kernels chosen. --update writes the texts anew: read the
# difference before committing it.
set -euo pipefail
vnetc=$1 fixtures=$2 update=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$fixtures/models" "$scratch/models"
/usr/bin/python3 "$fixtures/pool.py" "$scratch/models"
bad=0 count=0
for golden in "$here"/passes/*.txt; do
  name=$(basename "$golden" .txt)
  "$vnetc" "$scratch/models/$name.onnx" --topology any -q -d isnbfck \
    -o "$scratch/plan" >"$scratch/text"
  count=$((count + 1))
  if [ "$update" = --update ]; then
    cp "$scratch/text" "$golden"
  elif ! diff -u "$golden" "$scratch/text"; then
    bad=1
  fi
done
echo "$count graphs compared"
[ "$count" -gt 0 ] && exit $bad
