#!/usr/bin/env bash
# Time and memory over threads, beside ONNX Runtime and PyTorch: `vnet` at 64x128x128 and the shipped
# model's network, at 1, 2, 4 … threads, as many as there are cores.
#
#   tests/peers/threads.sh [PYTHON]      tests/peers/.venv/bin/python
#
# Needs build/ (on a machine without our libraries: -DVNET_XNNPACK=OFF -DCMAKE_EXE_LINKER_FLAGS=-static)
# and a Python with torch, onnx and onnxruntime. Eight minutes on 16 cores.
set -euo pipefail
cd "$(dirname "$0")"
python=${1:-.venv/bin/python}

for network in "vnet --width 16 --size 64x128x128" "monai --width 8 --size 96x112x96"; do
  for ((threads = 1; threads <= $(nproc); threads *= 2)); do
    # shellcheck disable=SC2086 # words
    "$python" bench.py --model $network --threads "$threads" --rounds 3 --peers onnxruntime torch
  done
done
