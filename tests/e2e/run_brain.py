"""The shipped brain model on a real head that it has never seen, as it is and as other scanners
might have seen it; without vnet-run's clean-up of small pieces.

    run_brain.py BIN_DIR MODEL SCAN_FOLDER [MASK]

SCAN_FOLDER is that of Debian's mricron-data; exits with 77 (skipped) when it is not there. The brain
mask is made of what lies there (brain only, and anatomical regions, together, closed), or read.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np
from scipy import ndimage

from disturb import THICK, biased, thick, turned

bin_dir, model, scans = (pathlib.Path(p) for p in sys.argv[1:4])
if not (scans / "ch2.nii.gz").exists():
    sys.exit(77)
scratch = tempfile.TemporaryDirectory(prefix="vnet-brain-")
folder = pathlib.Path(scratch.name)
plan = folder / "brain.plan"
CSF_BRIGHTEST = 52  # of ch2, whose white matter is at 110


def voxels(path):
    return np.asanyarray(nibabel.load(path).dataobj)


def mask_make():
    known = (voxels(scans / "ch2bet.nii.gz") > 0) | (voxels(scans / "aal.nii.gz") > 0)
    ball = ndimage.generate_binary_structure(3, 2)
    closed = ndimage.binary_closing(np.pad(known, 4), ball, iterations=3)[4:-4, 4:-4, 4:-4]
    return ndimage.binary_fill_holes(closed)


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def segmented(image, affine):
    nibabel.save(nibabel.Nifti1Image(image.astype(np.float32), affine), folder / "in.nii.gz")
    out = subprocess.run([bin_dir / "vnet-run", plan, folder / "in.nii.gz", "-o", folder / "out.nii.gz", "--json"],
                         check=True, capture_output=True, text=True)
    return voxels(folder / "out.nii.gz") > 0, json.loads(out.stdout)


def both(how, image, mask, *words):
    return how(image, *words), how(mask.astype(np.float32), *words) > 0.5


subprocess.run([bin_dir / "vnetc", model, "-o", plan], check=True, stdout=subprocess.DEVNULL)
scan = nibabel.load(scans / "ch2.nii.gz")
affine, image = scan.affine, np.asanyarray(scan.dataobj).astype(np.float32)
mask = voxels(sys.argv[4]) > 0 if len(sys.argv) > 4 else mask_make()
found, report = segmented(image, affine)
subprocess.run([bin_dir / "vnet-run", plan, folder / "in.nii.gz", "-o", folder / "out.nii.gz", "--scores",
                folder / "p.nii", "--scores-type", "float32", "-q"], check=True)
sums = voxels(folder / "p.nii").sum((0, 1, 2), dtype=float) / 1000
assert np.allclose([label["soft_ml"] for label in report["labels"]], sums, 1e-5), (report["labels"], sums)
plain = dice(found, mask)
pieces = ndimage.label(found)[0]
print(f"as it is {plain:.4f}  {report['seconds']}  {np.count_nonzero(found) / 1000:.0f} ml, mask "
      f"{np.count_nonzero(mask) / 1000:.0f} ml, largest piece {np.bincount(pieces.ravel())[1:].max() / found.sum():.4f}")
head = image > 0.1 * image.mean()
others = {
    "rotated 15 degrees about x": (*both(turned, image, mask, (1, 2)), affine),
    "rotated 15 degrees about y": (*both(turned, image, mask, (0, 2)), affine),
    "rotated 15 degrees about z": (*both(turned, image, mask, (0, 1)), affine),
    "slices of 1x1x4 mm": (*both(thick, image, mask), affine @ THICK),
    "inverted, air and all": (image.max() - image, mask, affine),
    "inverted, air dark": (np.where(head, image.max() - image, 0), mask, affine),
    "bias field and noise": (biased(image), mask, affine),
}
tissue = (voxels(scans / "aal.nii.gz") > 0) & (image > CSF_BRIGHTEST)
lost_ml = np.count_nonzero(tissue & ~found) / 1000
print(f"tissue of the atlas that is lost: {lost_ml:.1f} ml")
failed = [] if plain >= 0.97 and lost_ml <= 5 and pieces.max() == 1 else ["as it is"]
for name, (changed, truth, place) in others.items():
    have = dice(segmented(changed, place)[0], truth)
    print(f"{name} {have:.4f}")
    if have < plain - 0.01:
        failed.append(name)
assert not failed, failed
