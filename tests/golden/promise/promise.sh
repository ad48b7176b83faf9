#!/usr/bin/env bash
# Makes the plans of table.txt (and unpacks the scan) into a folder, for `promise` to compare.
#
#   promise.sh TOOLS_DIR FOLDER                        makes the folder
#   promise.sh TOOLS_DIR FOLDER --update PROMISE       and writes the table anew: say why in the commit
#
# TOOLS_DIR holds vnet-model and vnetc; those of any platform make the same bytes.
set -euo pipefail
tools=$1 folder=$2 update=${3:-} promise=${4:-}
here=$(cd "$(dirname "$0")" && pwd)
scan=/usr/share/mricron/templates/ch2.nii.gz
mkdir -p "$folder"
grep -v '^#' "$here/table.txt" | while IFS='|' read -r name options _; do
  name=${name// /}
  model=$folder/$name.onnx
  compile=()
  if [[ $options == *fixture* ]]; then
    model=$here/../../fixtures/models/$name.onnx
    read -ra compile <<<"${options#*fixture}"
  elif [[ $options == *brain* ]]; then
    [ -f "$scan" ] || exit 77
    gunzip -c "$scan" >"$folder/$name.nii"
    model=$here/../../../models/brain.onnx
  else
    xargs "$tools/vnet-model" -o "$model" <<<"$options"
  fi
  "$tools/vnetc" -q "$model" "${compile[@]}" -o "$folder/$name.plan"
done
[ "$update" = --update ] || exit 0

"$promise" "$here/table.txt" "$folder" portable avx2 >"$folder/hashes" || true
hash() { awk -v n="$1" -v w="$2" '$1 == n && $2 == w { print $3 }' "$folder/hashes"; }
{
  grep '^#' "$here/table.txt"
  grep -v '^#' "$here/table.txt" | while IFS='|' read -r name options _; do
    name=${name// /}
    echo "$name |$options| $(hash "$name" plan) | $(hash "$name" portable) | $(hash "$name" avx2)"
  done
} >"$folder/table.txt"
cp "$folder/table.txt" "$here/table.txt"
