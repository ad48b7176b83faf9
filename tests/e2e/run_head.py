"""A real head at 1 mm through an untrained width-4 model: the label map lies where the scan lies.

    run_head.py BIN_DIR SCAN

Exits with 77 (skipped) when the scan (Debian's mricron-data) is not installed.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

bin_dir, scan = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
if not scan.exists():
    sys.exit(77)
with tempfile.TemporaryDirectory(prefix="vnet-head-") as folder:
    model, plan, labels = (pathlib.Path(folder) / n for n in ("m.onnx", "m.plan", "head.nii.gz"))
    subprocess.run([bin_dir / "vnet-model", "--member", "vnet-caffe", "--width", "4", "--classes",
                    "3", "--patch", "64x96x96", "--seed", "1", "--orientation", "RAS",
                    "--intensity", "zscore", "-o", model], check=True)
    subprocess.run([bin_dir / "vnetc", model, "-o", plan], check=True)
    out = subprocess.run([bin_dir / "vnet-run", plan, scan, "-o", labels, "--json"], check=True,
                         capture_output=True, text=True).stdout
    report = json.loads(out)
    want, have = nibabel.load(scan), nibabel.load(labels)
    assert have.shape == want.shape, have.shape
    assert np.array_equal(have.affine, want.affine)
    for field in ("qform_code", "sform_code", "pixdim", "xyzt_units"):
        assert np.array_equal(have.header[field], want.header[field]), field
    values = np.asanyarray(have.dataobj)
    counts = np.bincount(values.ravel(), minlength=3)
    assert [entry["voxels"] for entry in report["labels"]] == counts.tolist(), counts
    assert len(counts) == 3 and np.count_nonzero(counts) > 1, f"labels are all the same: {counts}"
    print(report["topology"], report["isa"], report["seconds"], "voxels:", counts)
