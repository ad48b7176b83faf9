"""Scores of a model of the brain's parts on what no training saw.

    parts_score.py HEADS BUILD MODEL TABLE MAPS [--samples 20] [--mricron FOLDER] [--only PART] [--mirror]

HEADS is what heads.sh has fetched; TABLE the --label-table that the model was trained with; MAPS a folder of
whole-head label maps that it was not trained on. What is printed:

    rendered   Dice of each class over scans rendered from MAPS, and the mean over classes
    volumes    of ten renderings of one map: found over true volume, least and most, of each class, by its voxels and
               by its probabilities (soft_ml)
    repeated   the same of ch2 as other scanners might have seen it, over ch2 as it is
    surfaces   pycortex's subject: Dice of white matter (with what its surface encloses: nuclei, ventricles) and of
               cortex against the subject's own surfaces; hippocampus and amygdala, which lie between the two,
               are left out of both. Beside Atropos (parts_peers.sh), if it is there: the same within the pial
               surface, without nuclei and ventricles
    atlas      ch2: Dice of thalamus and cerebellum against MRIcron's atlas

Needs numpy, scipy and nibabel.
"""

import argparse
import csv
import pathlib
import shutil
import subprocess
import sys
import tempfile

import nibabel
import numpy as np
from scipy import ndimage

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "e2e"))
import disturb  # noqa: E402

PATCH, SPACING = "128x144x128", "1.5"
MAJOR = ("white matter", "cortex", "lateral ventricle", "thalamus", "brainstem")  # cerebellum's among them
ENCLOSED = ("cerebral white matter", "lateral ventricle", "thalamus", "caudate", "putamen", "pallidum",
            "ventral diencephalon")
BETWEEN = ("hippocampus", "amygdala")
ATLAS = {"thalamus": (77, 79), "cerebell": (91, 117)}  # of MRIcron's aal: the first value and one past the last


class Classes:
    """What the table says: names, and the class of each value of a label map."""

    def __init__(self, path):
        self.name, self.of_value, others = {}, np.zeros(65536, np.uint8), 0
        for row in csv.DictReader(open(path)):
            if row["value"] == "others":
                others = int(row["class"])
            elif row.get("name"):
                self.name[int(row["class"])] = row["name"]
        self.of_value[1:] = others
        for row in csv.DictReader(open(path)):
            if row["value"] != "others":
                self.of_value[int(row["value"])] = int(row["class"])

    def called(self, words):
        return [c for c, name in self.name.items() if any(word in name for word in words)]


def voxels(path):
    return np.squeeze(np.asanyarray(nibabel.load(path).dataobj))


def dice(a, b):
    whole = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / whole if whole else np.nan


def call(*words):
    subprocess.run([str(word) for word in words], check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def segmented(args, scratch, scan):
    call(args.build / "tools" / "vnet-run", scratch / "model.plan", scan, "-o", scratch / "found.nii.gz", "-q",
         "--csv", scratch / "found.csv", *(["--mirror", "w"] if args.mirror else []))
    return voxels(scratch / "found.nii.gz")


def measured(scratch):
    """Of the scan that was segmented last: what its classes have of ml and soft_ml."""
    return np.array([[float(row["ml"]), float(row["soft_ml"])] for row in csv.DictReader(open(scratch / "found.csv"))])


def renderings(args, scratch, maps, count, seed):
    """Found and true classes of each of them."""
    folder = scratch / f"rendered{seed}"
    call(args.build / "tools" / "vnet-train", "--render", count, "--labels", maps, "--label-table", args.table,
         "--patch", PATCH, "--spacing", SPACING, "--seed", seed, "-o", folder)
    for number in range(1, count + 1):
        found = segmented(args, scratch, folder / f"{number}.nii.gz")
        yield found, args.classes.of_value[voxels(folder / f"{number}-label.nii.gz")]
    shutil.rmtree(folder)


def rendered(args, scratch):
    scores = {c: [] for c in args.classes.name}
    for found, true in renderings(args, scratch, args.maps, args.samples, 1001):
        for c in scores:
            if (true == c).any():
                scores[c].append(dice(found == c, true == c))
    mean = {c: np.mean(s) for c, s in scores.items()}
    for c, score in mean.items():
        print(f"  {args.classes.name[c]:32} Dice {score:.3f} (least {min(scores[c]):.3f})")
    print(f"  mean over classes {np.mean(list(mean.values())):.3f}")
    major = [mean[c] for c in args.classes.called(MAJOR)]
    print(f"  white matter, cortex, ventricles, thalamus, brainstem, cerebellum: mean {np.mean(major):.3f}, "
          f"least {min(major):.3f}")


def of_many(ratios):
    """By voxels, and by probabilities."""
    return "   ".join(f"{min(ratio):.3f} to {max(ratio):.3f}, mean {np.mean(ratio):.3f}" for ratio in zip(*ratios))


def volumes(args, scratch):
    one = scratch / "one"
    one.mkdir()
    shutil.copy(sorted(args.maps.glob("*.nii*"))[0], one)
    ratios = {c: [] for c in args.classes.name}
    for found, true in renderings(args, scratch, one, 10, 2001):
        ml = measured(scratch)
        for c in ratios:
            if (true == c).sum() > 50:
                ratios[c].append(ml[c] / (ml[0, 0] / (found == 0).sum() * (true == c).sum()))
    for c, ratio in ratios.items():
        print(f"  {args.classes.name[c]:32} {of_many(ratio)}")


def disturbed(scan):
    """Turned about each axis, in thick slices, blurred, under a bias field with noise."""
    image, affine = np.asanyarray(scan.dataobj).astype(np.float32), scan.affine
    for axes in ((1, 2), (0, 2), (0, 1)):
        yield nibabel.Nifti1Image(disturb.turned(image, axes), affine)
    yield nibabel.Nifti1Image(disturb.thick(image), affine @ disturb.THICK)
    yield nibabel.Nifti1Image(ndimage.gaussian_filter(image, 0.8), affine)
    yield nibabel.Nifti1Image(disturb.biased(image), affine)


def repeated(args, scratch):
    segmented(args, scratch, args.mricron / "ch2.nii.gz")
    plain, ratio = measured(scratch), []
    for scan in disturbed(nibabel.load(args.mricron / "ch2.nii.gz")):
        nibabel.save(scan, scratch / "disturbed.nii")
        segmented(args, scratch, scratch / "disturbed.nii")
        ratio.append(measured(scratch) / plain)
    for c, name in args.classes.name.items():
        print(f"  {name:32} {of_many([each[c] for each in ratio])}")
    off = np.abs(np.array(ratio) - 1)[:, 1:]
    print(f"  off by {off[..., 0].mean():.3f} and {off[..., 1].mean():.3f} on average, "
          f"{off[..., 0].max():.3f} and {off[..., 1].max():.3f} at most")


def filled(surfaces, scan, fine=2):
    """The inside of closed surfaces on the scan's grid; worked on one `fine` times as fine."""
    shape = [n * fine for n in scan.shape[:3]]
    to_grid = np.linalg.inv(scan.affine)
    inside = np.zeros(shape, np.uint8)  # 2; 1 where a surface runs through
    for path in surfaces:
        points, triangles = (array.data for array in nibabel.load(path).darrays[:2])
        at = (to_grid[:3, :3] @ points.T + to_grid[:3, 3:]).T * fine + (fine - 1) / 2
        a, b, c = (at[triangles[:, k]] for k in range(3))
        steps = int(np.ceil(max(np.abs(b - a).max(), np.abs(c - a).max()))) + 1
        shell = np.zeros(shape, bool)
        for i in range(steps + 1):
            for j in range(steps + 1 - i):
                place = np.rint(a + (b - a) * i / steps + (c - a) * j / steps).astype(int)
                shell[tuple(np.clip(place, 0, np.array(shape) - 1).T)] = True
        inside = np.maximum(inside, 2 * ndimage.binary_fill_holes(shell).astype(np.uint8) - shell)
    blocks = inside.reshape(*(x for n in scan.shape[:3] for x in (n, fine)))
    return blocks.mean(axis=(1, 3, 5), dtype=np.float32) >= 1


def surfaces(args, scratch):
    scan = nibabel.load(args.heads / "t1_pycortex.nii.gz")
    found = segmented(args, scratch, args.heads / "t1_pycortex.nii.gz")
    pia, white = (filled([args.heads / f"t1_pycortex-{kind}_{side}.gii" for side in ("lh", "rh")], scan)
                  for kind in ("pia", "wm"))
    kept = ~np.isin(found, args.classes.called(BETWEEN))
    enclosed = np.isin(found, args.classes.called(ENCLOSED))
    cortex = np.isin(found, args.classes.called(["cerebral cortex"]))
    print(f"  white matter and what it encloses {dice(enclosed & pia & kept, white & kept):.3f}, "
          f"cortex {dice(cortex & kept, pia & ~white & kept):.3f}")
    theirs = args.heads / "t1_pycortex-atropos.nii.gz"
    if theirs.exists():
        tissue = voxels(theirs)  # 1 fluid, 2 grey, 3 white matter
        there = pia & kept & ~np.isin(found, args.classes.called(ENCLOSED[1:]))
        matter = np.isin(found, args.classes.called(ENCLOSED[:1]))
        for name, a, b in (("ours", matter, cortex), ("Atropos", tissue == 3, tissue == 2)):
            print(f"  {name} within the pial surface: white matter {dice(a & there, white & there):.3f}, "
                  f"cortex {dice(b & there, ~white & there):.3f}")


def atlas(args, scratch):
    found, known = segmented(args, scratch, args.mricron / "ch2.nii.gz"), voxels(args.mricron / "aal.nii.gz")
    for name, (first, end) in ATLAS.items():
        print(f"  {name:32} {dice(np.isin(found, args.classes.called([name])), (known >= first) & (known < end)):.3f}")


def main():
    parts = {"rendered": rendered, "volumes": volumes, "repeated": repeated, "surfaces": surfaces, "atlas": atlas}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("heads", "build", "model", "table", "maps"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--mricron", type=pathlib.Path, default=pathlib.Path("/usr/share/mricron/templates"))
    parser.add_argument("--only", choices=parts)
    parser.add_argument("--mirror", action="store_true", help="vnet-run --mirror w")
    args = parser.parse_args()
    args.classes = Classes(args.table)
    with tempfile.TemporaryDirectory(prefix="vnet-parts-") as folder:
        scratch = pathlib.Path(folder)
        call(args.build / "tools" / "vnetc", "--quiet", args.model, "-o", scratch / "model.plan")
        for name, part in parts.items():
            if args.only in (None, name):
                print(name, flush=True)
                part(args, scratch)


if __name__ == "__main__":
    main()
