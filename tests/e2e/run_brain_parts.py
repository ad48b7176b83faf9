"""The shipped model of the brain's parts on a real head that it has never seen.

    run_brain_parts.py BIN_DIR MODEL_DIR SCAN_FOLDER

SCAN_FOLDER is that of Debian's mricron-data; exits with 77 (skipped) when it is not there. Its atlas
gives thalamus and cerebellum; elsewhere it takes in more than the structures themselves, so that the
rest is held to what is known of any head: sides, likeness of the two halves, volumes of adults (of
this one, which is larger than most). The model's aims are in models/README.md; what it reaches is
held here, less a little.
"""
import csv
import io
import json
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

from disturb import biased

bin_dir, models, scans = (pathlib.Path(p) for p in sys.argv[1:4])
if not (scans / "ch2.nii.gz").exists():
    sys.exit(77)
scratch = tempfile.TemporaryDirectory(prefix="vnet-brain-parts-")
folder = pathlib.Path(scratch.name)
plan = folder / "brain-parts.plan"
ATLAS = {"thalamus": (77, 79, 0.808), "cerebell": (91, 117, 0.88)}  # of its values: first, one past the last; least Dice
ML = {"cerebral white matter": (300, 800), "cerebral cortex": (350, 900), "lateral ventricle": (5, 120),
      "thalamus": (9, 25), "caudate": (5, 16), "putamen": (6, 18), "pallidum": (1.5, 7), "hippocampus": (4, 16),
      "amygdala": (1.5, 6), "brainstem": (14, 40), "cerebell": (90, 220)}  # both sides together

STEADY = ("cerebral white matter", "cerebral cortex", "thalamus", "cerebellar cortex", "brainstem")


def voxels(path):
    return np.squeeze(np.asanyarray(nibabel.load(path).dataobj))


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def segmented(path, *words):
    """Classes of the scan's voxels, and the table's rows but that of the background."""
    out = subprocess.run([bin_dir / "vnet-run", "-q", plan, path, "-o", folder / "out.nii.gz", "--csv", *words],
                         check=True, capture_output=True, text=True).stdout
    return voxels(folder / "out.nii.gz"), list(csv.DictReader(io.StringIO(out)))[1:]


subprocess.run([bin_dir / "vnetc", models / "brain-parts.onnx", "-o", plan], check=True, stdout=subprocess.DEVNULL)
table = list(csv.DictReader(open(models / "brain-parts.csv")))
name = {int(row["class"]): row["name"] for row in table if row["name"]}
twin = {int(row["class"]): int(row["mirror"]) for row in table if row["mirror"]}
scan, atlas = nibabel.load(scans / "ch2.nii.gz"), voxels(scans / "aal.nii.gz")
found, rows = segmented(scans / "ch2.nii.gz")
failed = []


def held(what, good):
    print(("ok   " if good else "not  ") + what)
    if not good:
        failed.append(what)


held("a row for each structure, by its name", [row["name"] for row in rows] == [name[c] for c in sorted(name)])
scored = [float(row["validation_dice"] or 0) for row in rows]  # on heads that it was not trained on (models/README.md)
held(f"what the model says of its labels: {min(scored):.2f} to {max(scored):.2f}, on average 0.80",
     0.7 < min(scored) and round(np.mean(scored), 3) == 0.8)
ml = {row["name"]: float(row["ml"]) for row in rows}
for word, (least, most) in ML.items():
    total = sum(ml[n] for n in ml if word in n)
    held(f"{word}: {total:.1f} ml, of {least} to {most}", least <= total <= most)
for word, (first, end, least) in ATLAS.items():
    score = dice(np.isin(found, [c for c in name if word in name[c]]), (atlas >= first) & (atlas < end))
    held(f"{word} as in the atlas: Dice {score:.3f}, at least {least}", score >= least)
for left, right in twin.items():
    if name[left].startswith("left"):
        x = [(scan.affine @ np.append(np.argwhere(found == side).mean(0), 1))[0] for side in (left, right)]
        ratio = ml[name[left]] / ml[name[right]]
        held(f"{name[left]} at {x[0]:.0f} mm, the right one at {x[1]:.0f}, {ratio:.2f} of its volume",
             x[0] < -3 and x[1] > 3 and 0.6 < ratio < 1.67)

nibabel.save(nibabel.Nifti1Image(np.asanyarray(scan.dataobj)[::-1], scan.affine), folder / "mirrored.nii.gz")
other = np.arange(256)
other[list(twin)] = list(twin.values())
for what, again in (("mirrored, the same with sides exchanged", other[segmented(folder / "mirrored.nii.gz")[0][::-1]]),
                    ("the mean with mirrored windows", segmented(scans / "ch2.nii.gz", "--mirror", "w")[0])):
    same = np.count_nonzero((again == found) & (found > 0)) / np.count_nonzero(found)
    held(f"{what}: {same:.3f} of the brain's voxels, at least 0.9", same >= 0.9)

# Under another scanner's bias field and noise: what probabilities add up to.
values = np.asanyarray(scan.dataobj).astype(np.float32)
nibabel.save(nibabel.Nifti1Image(biased(values), scan.affine), folder / "biased.nii")
_, again = segmented(folder / "biased.nii")
for word in STEADY:
    ratio = np.divide(*(sum(float(row["soft_ml"]) for row in each if word in row["name"]) for each in (again, rows)))
    held(f"{word} under a bias field and noise: {ratio:.3f} of its volume, within 0.05", abs(ratio - 1) < 0.05)

# In the numbers of a CT, whose window is the model's: the brain between 0 and 80, air and bone far from it.
top = np.percentile(values, 99.5)
ct = np.select([values < 0.02 * top, values > top], [-1000, 1000 * values / top], 80 * values / top)
nibabel.save(nibabel.Nifti1Image(ct.astype(np.float32), scan.affine), folder / "ct.nii.gz")
again, _ = segmented(folder / "ct.nii.gz", "--report", folder / "ct.json")
same = np.count_nonzero((again == found) & (found > 0)) / np.count_nonzero(found)
held(f"in a CT's numbers: {same:.3f} of the brain's voxels, at least 0.97", same >= 0.97)
held("a note says so", "a CT's: the network sees 0 to 80" in json.loads((folder / "ct.json").read_text())["note"])
assert not failed, failed
