#!/usr/bin/env bash
# What ANTs (N4 and Atropos, without a prior) calls fluid, grey and white matter in t1_pycortex of
# heads.sh, for parts_score.py; no tool whose weights a package carries knows more of the parts.
#
#   tests/peers/parts_peers.sh HEADS BUILD      to HEADS/t1_pycortex-atropos.nii.gz, within the mask of `brain`
#
# antspyx 0.6.3 is Apache-2.0. It takes two minutes.
set -euo pipefail
heads=$(cd "$1" && pwd) build=$(cd "$2" && pwd)
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" -q --disable-pip-version-check install antspyx==0.6.3
"$build/tools/vnet-run" -q brain "$heads/t1_pycortex.nii.gz" -o "$scratch/mask.nii.gz"
"$scratch/venv/bin/python" - "$heads" "$scratch/mask.nii.gz" <<'PYTHON'
import sys

import ants

heads, mask = sys.argv[1], ants.image_read(sys.argv[2])
scan = ants.n4_bias_field_correction(ants.image_read(f"{heads}/t1_pycortex.nii.gz"), mask)
tissue = ants.atropos(scan, mask, i="kmeans[3]", m="[0.1,1x1x1]", c="[5,0]")["segmentation"]
ants.image_write(tissue, f"{heads}/t1_pycortex-atropos.nii.gz")
PYTHON
