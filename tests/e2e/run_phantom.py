"""A phantom in world coordinates on every kind of grid: labels where they belong, geometry untouched.

    run_phantom.py BIN_DIR FIXTURES_DIR

The models are written by tests/peers/scan_models.py. One takes the nearest of five intensities at
1 mm in RAS: what comes back must lie where it was. The phantom is asymmetric; each voxel holds the
mean of its volume, the truth is the label at its centre. A voxel by voxel model does not notice how
it is given the scan, so a second one, with other axes and another spacing on each, tells slopes in
world millimetres: what goes in must have been turned and resampled as the metadata say.
"""
import itertools
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np
from nibabel.affines import from_matvec

bin_dir, fixtures = (pathlib.Path(a) for a in sys.argv[1:3])
scratch = tempfile.TemporaryDirectory(prefix="vnet-phantom-")
folder = pathlib.Path(scratch.name)
LEVEL = np.array([0, 100, -100, 200, -200], np.float32)


def labels_at(p):
    """The label at world points p[..., 3], mm around the origin."""
    def ball(centre, radii):
        return (((p - centre) / radii) ** 2).sum(-1) < 1

    def block(centre, halves):  # with rounded edges
        return (((p - centre) / halves) ** 6).sum(-1) < 1

    out = np.zeros(p.shape[:-1], np.uint8)
    out[ball([-9, 4, 3], [15, 19, 14])] = 1
    out[ball([-12, 8, 2], [8, 9, 8])] = 3
    out[block([16, -10, -4], [9, 13, 13])] = 2
    out[ball([15, -9, -6], [6, 8, 8])] = 4
    out[ball([14, 17, 10], [7, 6, 8])] = 1
    return out


def render(shape, affine, fine):
    """Mean intensity of each voxel from fine**3 points in it, and the label at its centre."""
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float64) for n in shape), indexing="ij"), -1)
    total = np.zeros(shape, np.float32)
    for offset in itertools.product((np.arange(fine) + 0.5) / fine - 0.5, repeat=3):
        total += LEVEL[labels_at((grid + offset) @ affine[:3, :3].T + affine[:3, 3])]
    return total / fine**3, labels_at(grid @ affine[:3, :3].T + affine[:3, 3])


def affine_of(shape, spacing, turn=(0, 0, 0)):
    """Axes turned by degrees about x, y, z; the grid's centre near the origin."""
    a, b, c = np.radians(turn)
    about = [np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]),
             np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]]),
             np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])]
    matrix = about[2] @ about[1] @ about[0] @ np.diag(spacing)
    return from_matvec(matrix, -matrix @ ((np.array(shape) - 1) / 2))


def dice(found, truth):
    worst = 1.0
    for label in range(1, 5):
        a, b = found == label, truth == label
        if not b.any() and not a.any():
            continue  # outside a small field of view
        worst = min(worst, 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b)))
    return worst


def segment(values, affine, codes=(1, 1), kind=nibabel.Nifti1Image, qform=None, model="phantom"):
    """The labels that vnet-run gives, after the geometry has been compared bit for bit."""
    image = kind(values, None)
    image.header.set_xyzt_units("mm", "sec")
    image.set_qform(affine if qform is None else qform, codes[0])
    image.set_sform(affine, codes[1])
    nibabel.save(image, folder / "scan.nii")
    done = subprocess.run([bin_dir / "vnet-run", folder / f"{model}.plan", folder / "scan.nii", "-q",
                           "-o", folder / "labels.nii"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after = nibabel.load(folder / "scan.nii"), nibabel.load(folder / "labels.nii")
    assert type(before) is type(after) and before.shape == after.shape
    for field in ("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x",
                  "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z", "pixdim", "xyzt_units"):
        assert before.header[field].tobytes() == after.header[field].tobytes(), field
    return np.asanyarray(after.dataobj)


def orders(values, truth, affine):
    """All 48 ways to store the same grid, both hands: values, truth, affine."""
    images = [nibabel.Nifti1Image(v, affine) for v in (values, truth)]
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            a, b = (image.as_reoriented(np.stack([axes, flips], 1)) for image in images)
            yield np.asanyarray(a.dataobj), np.asanyarray(b.dataobj), a.affine


def every_order(shape, spacing, turn, least, what):
    affine = affine_of(shape, spacing, turn)
    values, truth = render(shape, affine, 2 if min(spacing) < 0.8 else 3)
    worst = min(dice(segment(v, a), t) for v, t, a in orders(values, truth, affine))
    print(f"{what}: worst Dice of 48 orders {worst:.4f}", flush=True)
    assert worst >= least, what


def one_grid(shape, spacing, turn, least, what, centre=(0, 0, 0), tilt=0, **more):
    """`tilt` by degrees as a CT's gantry: slices lie straight, each a little further along y."""
    affine = affine_of(shape, spacing, turn)
    affine[:3, 2] += np.tan(np.radians(tilt)) * spacing[2] * affine[:3, 1] / spacing[1]
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    values, truth = render(shape, affine, 2 if min(spacing) < 0.8 else 3)
    worst = dice(segment(values, affine, **more), truth)
    print(f"{what}: {worst:.4f}", flush=True)
    assert worst >= least, what


def slopes_of(shape, affine):
    """Values that rise by 1 per mm, in each of six blocks towards another side, and the blocks'
    labels where everything that a label depends on lies in the block; 0 elsewhere."""
    grid = np.stack(np.meshgrid(*(np.arange(n, dtype=np.float64) for n in shape), indexing="ij"), -1)
    x, y, z = np.moveaxis(grid @ affine[:3, :3].T + affine[:3, 3], -1, 0)
    column, upper = np.clip((x + 30) // 20, 0, 2), z > 0
    block = (1 + column + 3 * upper).astype(np.uint8)
    at_x, at_z = x - 20 * column + 20, z - np.where(upper, 12, -12)
    values = np.choose(block - 1, [-y, y, at_z, -at_z, at_x, -at_x]).astype(np.float32)
    inside = (abs(at_x) < 3) & (abs(y) < 6) & (abs(at_z) < 5)
    return values, np.where(inside, block, 0)


def slopes_wrong(values, truth, affine):
    return np.count_nonzero((segment(values, affine, model="slopes") != truth)[truth > 0])


def every_slope():
    affine = affine_of((64, 40, 18), (1, 1, 3), (6, -4, 9))
    values, truth = slopes_of((64, 40, 18), affine)
    assert set(np.unique(truth)) == set(range(7))
    wrong = sum(slopes_wrong(*order) for order in orders(values, truth, affine))
    for shape, spacing in (((26, 50, 65), (2.5, 0.8, 0.8)), ((128, 80, 104), (0.5, 0.5, 0.5))):
        affine = affine_of(shape, spacing, (-5, 8, 4))
        wrong += slopes_wrong(*slopes_of(shape, affine), affine)
    print(f"slopes in mm on turned axes, 48 orders and 2 grids: {wrong} voxels wrong", flush=True)
    assert wrong == 0


for name in ("phantom", "slopes"):
    subprocess.run([bin_dir / "vnetc", fixtures / "scan" / f"{name}.onnx", "-o",
                    folder / f"{name}.plan", "--topology", "any", "-q"], check=True)
every_order((60, 64, 46), (1, 1, 1), (0, 0, 0), 0.99, "1 mm")
every_order((60, 64, 16), (1, 1, 3), (0, 0, 0), 0.97, "1 x 1 x 3 mm")
every_order((64, 66, 52), (1, 1, 1), (12, -8, 15), 0.99, "1 mm, oblique")
one_grid((64, 66, 18), (1, 1, 3), (12, -8, 15), 0.97, "1 x 1 x 3 mm, oblique")
one_grid((75, 76, 20), (0.8, 0.85, 2.5), (0, 25, 0), 0.97, "0.8 x 0.85 x 2.5 mm, oblique")
one_grid((112, 124, 92), (0.5, 0.5, 0.5), (0, 0, 0), 0.99, "0.5 mm")
one_grid((40, 44, 32), (1.5, 1.5, 1.5), (0, 0, 30), 0.97, "1.5 mm, oblique")
one_grid((60, 64, 46), (1.004, 1, 0.997), (0, 0, 0), 0.99, "nearly 1 mm")
one_grid((60, 64, 16), (1, 1, 3), (5, 0, 0), 0.97, "qform alone", codes=(1, 0))
one_grid((60, 64, 16), (1, 1, 3), (5, 0, 0), 0.97, "sform alone", codes=(0, 2))
one_grid((60, 64, 16), (1, 1, 3), (5, 0, 0), 0.97, "NIfTI-2", kind=nibabel.Nifti2Image)
one_grid((60, 76, 16), (1, 1, 3), (0, 0, 0), 0.97, "gantry tilt", tilt=18, codes=(0, 1))
one_grid((60, 64, 16), (1, 1, 3), (5, 0, 0), 0.97, "another qform", codes=(2, 1),
         qform=affine_of((60, 64, 16), (1, 1, 3), (9, 3, -2)))
one_grid((44, 40, 36), (0.5, 0.5, 0.5), (4, 0, 7), 0.98, "a field of view smaller than the patch",
         centre=(-20, 8, 4))
every_slope()
