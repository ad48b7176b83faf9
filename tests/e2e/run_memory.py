"""A CT-sized scan (512 x 512 x 300, int16) with a 5-class model, patch 64 x 128 x 128: peak memory.

    run_memory.py BIN_DIR FIXTURES_DIR

The bound: the network's own memory and three times the scan as float32, with every result asked for
but the probabilities. The model is one convolution, so that the figure is not hidden by a network's.
Then four channels of 256 x 256 x 160, one of them on another grid: never more than was counted.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

bin_dir, fixtures = (pathlib.Path(a) for a in sys.argv[1:3])
SHAPE, MIB = (512, 512, 300), 1 << 20
OVERHEAD = 24 * MIB  # the program and its libraries
with tempfile.TemporaryDirectory(prefix="vnet-memory-") as name:
    folder = pathlib.Path(name)
    plan, scan = folder / "plan", folder / "ct.nii"
    subprocess.run([bin_dir / "vnetc", fixtures / "scan" / "phantom_large.onnx", "-o", plan,
                    "--topology", "any", "-q"], check=True)
    x, y, z = np.ogrid[:512, :512, :300]
    body = ((x - 256) / 200) ** 2 + ((y - 256) / 150) ** 2 + ((z - 150) / 400) ** 2 < 1
    values = np.where(body, 100 + (x * y * z % 97), -300).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), scan)
    del values, body
    words = [bin_dir / "vnet-run", plan, scan, "-q", "--json", "-o", folder / "labels.nii.gz",
             "--picture", folder / "ct.png", "--csv", folder / "ct.csv", "--largest-component"]
    report = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    scan_bytes = 4 * SHAPE[0] * SHAPE[1] * SHAPE[2]
    network = report["network_bytes"]
    bound = network + 3 * scan_bytes + OVERHEAD
    print(f"peak resident {report['peak_resident_bytes'] / MIB:.0f} MiB, bound {bound / MIB:.0f} MiB: network "
          f"{network / MIB:.0f}, scan as float32 {scan_bytes / MIB:.0f}; vnet-run had counted "
          f"{report['memory_bytes'] / MIB:.0f}")
    print("seconds:", report["seconds"], "windows:", report["windows"], "skipped:", report["windows_skipped"])
    assert network <= report["peak_resident_bytes"] <= bound
    assert report["peak_resident_bytes"] <= report["memory_bytes"] + OVERHEAD
    # The limit is held against the same figure, before any work.
    limit = report["memory_bytes"] // MIB
    refused = subprocess.run([*words, "--memory-limit", f"{limit - 1}M"], capture_output=True, text=True)
    assert refused.returncode == 6 and f"takes {limit}" in refused.stderr, refused.stderr

    # Four channels as float32, the third once more on the first one's grid, a label map and a region.
    subprocess.run([bin_dir / "vnetc", fixtures / "scan" / "sum4.onnx", "-o", plan, "--topology", "any", "-q"],
                   check=True)
    values = np.random.default_rng(1).integers(0, 80, (256, 256, 160)).astype(np.int16)
    scans = [folder / f"case_000{i}.nii" for i in range(4)]
    for i, path in enumerate(scans):
        nibabel.save(nibabel.Nifti1Image(values[:, 16:] if i == 2 else values, np.eye(4)), path)
    words = [bin_dir / "vnet-run", plan, *scans, "-q", "--json", "-o", folder / "labels.nii.gz", "--match-grids",
             "--regions", folder / "regions.nii.gz"]
    report = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    channel = 4 * values.size
    print(f"four channels: peak resident {report['peak_resident_bytes'] / MIB:.0f} MiB, counted "
          f"{report['memory_bytes'] / MIB:.0f}, a channel {channel / MIB:.0f}")
    assert 4.9 * channel <= report["memory_bytes"] <= report["network_bytes"] + 6 * channel, report["memory_bytes"]
    assert report["peak_resident_bytes"] <= report["memory_bytes"] + OVERHEAD
    refused = subprocess.run([*words, "--memory-limit", f"{report['memory_bytes'] // MIB - 1}M"], capture_output=True,
                             text=True)
    assert refused.returncode == 6 and "the limit is" in refused.stderr, refused.stderr
