#!/usr/bin/env bash
# Makes the seeds of one kind of hostile input and lets the mutations begin.
#
#   run.sh KIND COUNT FUZZ_PROGRAM FIXTURES_DIR [VNETC]     KIND: model, plan, scan, npy
#
# To repeat seed N alone: FIRST_SEED=N run.sh KIND 1 …
set -euo pipefail
kind=$1 count=$2 program=$3 fixtures=$4 vnetc=${5:-}
here=$(cd "$(dirname "$0")" && pwd)
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT

case $kind in
model) find "$fixtures/models" -name '*.onnx' -size -40k -exec cp -t "$seeds" {} + ;;
plan)
  for model in activations argmax-labels concat-depth conv-asymmetric-pads conv-dilated conv-grouped \
    deconv-grouped-dilated logsoftmax-flat-tail norm-of-instance outputs-several repeat-as-tile \
    shape-arithmetic softmax-axis1-opset13; do
    "$vnetc" "$fixtures/models/$model.onnx" --topology any -o "$seeds/$model.plan" >/dev/null
  done
  ;;
scan) /usr/bin/python3 "$here/make_scans.py" "$seeds" ;;
npy) find "$fixtures/golden" -name '*.npy' -size -40k -exec cp -t "$seeds" {} + ;;
esac
"$program" "$count" "${FIRST_SEED:-1}" "$seeds"/*
