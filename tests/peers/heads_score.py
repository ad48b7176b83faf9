"""Scores of a brain model on real heads that no training saw, and of other tools' masks beside it.

    heads_score.py HEADS BUILD MODEL [--mricron FOLDER] [--peer NAME=FOLDER ...] [--options "…"]

HEADS is what heads.sh has fetched; MODEL any ONNX file or plan that vnetc or vnet-run takes. A peer's
folder holds a mask for each scan, by the scan's name (heads_peers.sh makes those of deepbet and ROBEX).
What a column says, for each scan that has it:

    Dice, HD95     against the mask of run_brain.py (ch2) or SPM's (averages); mm
    atlas lost     ch2: ml of anatomical regions, brighter than CSF, that the mask leaves out
    pia, mid, wm   pycortex: per cent of the subject's own surfaces' vertices outside of the mask, and mm at most
    tight lost     ml of what all peers call brain and the mask leaves out
    ml, pieces     volume, and connected pieces

Needs numpy, scipy and nibabel.
"""

import argparse
import pathlib
import resource
import shlex
import subprocess
import tempfile

import nibabel
import numpy as np
from scipy import ndimage

CSF_BRIGHTEST = 52  # of ch2, whose white matter is at 110
SURFACES = ("pia", "wm")


def voxels(path):
    image = nibabel.load(path)
    data = np.asanyarray(image.dataobj)
    return data[..., 0] if data.ndim == 4 else data


def on_grid(mask_path, scan_path):
    """A mask on the scan's own axes, however its file orders them."""
    scan, mask = nibabel.load(scan_path), nibabel.load(mask_path)
    turn = nibabel.orientations.ornt_transform(
        nibabel.io_orientation(mask.affine), nibabel.io_orientation(scan.affine))
    return np.asanyarray(mask.as_reoriented(turn).dataobj).reshape(scan.shape[:3]) > 0.5


def dice(a, b):
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def border(mask):
    return mask & ~ndimage.binary_erosion(mask)


def hd95(a, b, spacing):
    gaps = [ndimage.distance_transform_edt(~border(y), sampling=spacing)[border(x)] for x, y in ((a, b), (b, a))]
    return np.percentile(np.concatenate(gaps), 95)


def ch2_references(folder):
    """run_brain.py's mask, and the tissue of the atlas."""
    atlas = voxels(folder / "aal.nii.gz") > 0
    known = (voxels(folder / "ch2bet.nii.gz") > 0) | atlas
    ball = ndimage.generate_binary_structure(3, 2)
    closed = ndimage.binary_closing(np.pad(known, 4), ball, iterations=3)[4:-4, 4:-4, 4:-4]
    return ndimage.binary_fill_holes(closed), atlas & (voxels(folder / "ch2.nii.gz") > CSF_BRIGHTEST)


def surface_points(heads):
    """mm, of both hemispheres: pia, half way, white matter."""
    pia, white = (np.vstack([nibabel.load(heads / f"t1_pycortex-{kind}_{side}.gii").darrays[0].data
                             for side in ("lh", "rh")]) for kind in SURFACES)
    return {"pia": pia, "mid": (pia + white) / 2, "wm": white}


def outside(mask, scan, points):
    """Per cent of points outside of a mask, and the furthest, mm."""
    back = np.linalg.inv(scan.affine)
    at = back[:3, :3] @ points.T + back[:3, 3:]
    gap = ndimage.distance_transform_edt(~mask, sampling=scan.header.get_zooms()[:3])
    inside = ndimage.map_coordinates(mask.astype(np.float32), at, order=1) >= 0.5
    return 100 * np.mean(~inside), ndimage.map_coordinates(gap, at, order=1).max()


def scores(name, mask, scan, args, tight):
    millilitres = abs(np.linalg.det(scan.affine[:3, :3])) / 1000
    said = [f"{np.count_nonzero(mask) * millilitres:.0f} ml in {ndimage.label(mask)[1]}"]
    spacing = scan.header.get_zooms()[:3]
    reference = args.heads / f"{name}-mask.nii.gz"
    if name == "ch2":
        known, tissue = ch2_references(args.mricron)
        said.append(f"Dice {dice(mask, known):.4f}, HD95 {hd95(mask, known, spacing):.1f}, "
                    f"atlas lost {np.count_nonzero(tissue & ~mask) * millilitres:.1f}")
    elif reference.exists():
        known = on_grid(reference, args.heads / f"{name}.nii.gz")
        said.append(f"Dice {dice(mask, known):.4f}, HD95 {hd95(mask, known, spacing):.1f}")
    if name == "t1_pycortex":
        for layer, points in surface_points(args.heads).items():
            said.append("{} {:.2f} % (to {:.1f} mm)".format(layer, *outside(mask, scan, points)))
    if tight is not None:
        said.append(f"tight lost {np.count_nonzero(tight & ~mask) * millilitres:.1f}")
    return ", ".join(said)


def segmented(path, args, scratch):
    result = scratch / "mask.nii.gz"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([args.build / "tools" / "vnet-run", scratch / "model.plan", path, "-o", result, "--quiet",
                    *shlex.split(args.options)], check=True, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return on_grid(result, path), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("heads", type=pathlib.Path)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--mricron", type=pathlib.Path, default=pathlib.Path("/usr/share/mricron/templates"))
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--options", default="", help="for vnet-run")
    args = parser.parse_args()
    peers = {name: pathlib.Path(folder) for name, folder in (text.split("=", 1) for text in args.peer)}

    with tempfile.TemporaryDirectory(prefix="vnet-heads-") as folder:
        scratch = pathlib.Path(folder)
        subprocess.run([args.build / "tools" / "vnetc", "--quiet", args.model, "-o", scratch / "model.plan"], check=True)
        paths = {"ch2": args.mricron / "ch2.nii.gz"}
        paths |= {p.name[:-7]: p for p in sorted(args.heads.glob("*.nii.gz")) if not p.name.endswith("-mask.nii.gz")}
        for name, path in paths.items():
            theirs = {peer: on_grid(there / f"{name}.nii.gz", path) for peer, there in peers.items()
                      if (there / f"{name}.nii.gz").exists()}
            tight = np.logical_and.reduce(list(theirs.values())) if theirs else None
            scan = nibabel.load(path)
            mask, seconds = segmented(path, args, scratch)
            print(f"{name:18} this model  {scores(name, mask, scan, args, tight)}, {seconds:.1f} s of CPU", flush=True)
            for peer, found in theirs.items():
                print(f"{'':18} {peer:11} {scores(name, found, scan, args, tight)}", flush=True)


if __name__ == "__main__":
    main()
