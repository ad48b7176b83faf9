"""The front door as a host uses it, beside vnet-run.

    run_front.py BIN_DIR FRONT_DOOR [ROUNDS [MOST_MS]]

One scan in 48 orientations goes through vnet-run; front_door.c hands over the same voxels from one
buffer of every type, padded and flipped, and must get the same labels. Then buttons pressed at
random moments, two hosts on one plan, plans whose file is spoilt, and the pace of progress, on a
network that takes long enough to be stopped. MOST_MS: of CPU time that a stopped run may go on for.
"""
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

bin_dir = pathlib.Path(sys.argv[1])
door = pathlib.Path(sys.argv[2])
rounds = sys.argv[3] if len(sys.argv) > 3 else "100"
most_ms = sys.argv[4] if len(sys.argv) > 4 else "50"
scratch = tempfile.TemporaryDirectory(prefix="vnet-front-")
folder = pathlib.Path(scratch.name)
ORDERS = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]


def run(*command):
    print("$", pathlib.Path(command[0]).name, *command[1:], flush=True)
    done = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, text=True)
    print(done.stdout, end="", flush=True)
    assert done.returncode == 0, f"exit status {done.returncode}"


def plan(name, *options):
    run(bin_dir / "vnet-model", *options, "-o", folder / f"{name}.onnx")
    run(bin_dir / "vnetc", folder / f"{name}.onnx", "-o", folder / f"{name}.plan")
    return folder / f"{name}.plan"


def blobs(shape, seed):
    """Whole numbers from 0 to 120, smooth enough to be looked at."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"), -1)
    value = np.zeros(shape)
    for _ in range(12):
        value += rng.uniform(0.3, 1) * np.exp(-(((grid - rng.uniform(-0.8, 0.8, 3)) / 0.3) ** 2).sum(-1))
    return np.round(120 * value / value.max()).astype(np.int16)


def orientations(base, affine):
    for o in range(48):
        order, flips = ORDERS[o // 8], [bool(o % 8 >> a & 1) for a in range(3)]
        to_base = np.zeros((4, 4))
        to_base[3, 3] = 1
        for a, axis in enumerate(order):
            to_base[axis, a] = -1 if flips[a] else 1
            to_base[axis, 3] = base.shape[axis] - 1 if flips[a] else 0
        data = np.flip(base.transpose(order), [a for a in range(3) if flips[a]])
        nibabel.save(nibabel.Nifti1Image(data, affine @ to_base), folder / "same" / f"o{o:02d}.nii")


turn = np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]) @ np.array(
    [[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]])
oblique = np.eye(4)
oblique[:3, :3] = turn @ np.diag([1.1, 1.3, 2.0])
oblique[:3, 3] = 5, -7, 100
(folder / "same").mkdir()
orientations(blobs((33, 27, 18), 1), oblique)
small = plan("small", "--member", "vnet-2016", "--width", "4", "--stages", "3", "--classes", "4", "--patch",
             "16x24x16", "--orientation", "RAS", "--spacing", "1.5 1.5 1.5", "--intensity",
             "percentile 0.5 99.5")
run(bin_dir / "vnet-run", small, folder / "same", "--output-dir", folder / "same" / "out", "-q")
labels = np.asarray(nibabel.load(folder / "same" / "out" / "o00.seg.nii.gz").dataobj)
assert len(np.unique(labels)) > 1, "a scan of one label tells nothing"
run(door, "same", small, folder / "same")
run(door, "modes", small, folder / "same" / "o00.nii")
others = []
for conv in "fft", "direct", "xnnpack", "ref":
    others.append(folder / f"small-{conv}.plan")
    run(bin_dir / "vnetc", folder / "small.onnx", "-o", others[-1], "--conv", conv, "-q")
run(door, "stack", small, *others, folder / "same" / "o00.nii")

large = plan("large", "--member", "vnet", "--width", "8", "--stages", "5", "--classes", "3", "--patch",
             "48x64x64", "--orientation", "RAS", "--spacing", "1 1 1", "--intensity",
             "percentile 0.5 99.5")
nibabel.save(nibabel.Nifti1Image(blobs((90, 80, 76), 2), np.diag([0.8, 0.8, 0.8, 1])),
             folder / "scan.nii.gz")
run(door, "share", small, folder / "same" / "o00.nii")
run(door, "file", small, folder / "same" / "o00.nii")
run(door, "progress", large, folder / "scan.nii.gz")
run(door, "stop", large, folder / "scan.nii.gz", rounds, "7", most_ms)
# Channels that lie elsewhere, on a network so small that reading them and bringing them onto one
# grid is a good part of a run.
channels = plan("channels", "--member", "vnet-2016", "--width", "6", "--stages", "2", "--in-channels", "3", "--patch",
                "48x64x64", "--orientation", "RAS", "--intensity", "zscore")
nibabel.save(nibabel.Nifti1Image(np.stack([blobs((84, 80, 72), seed) for seed in (3, 4, 5)], 3),
                                 np.diag([0.8, 0.8, 0.8, 1])), folder / "series.nii.gz")
run(door, "stop", channels, folder / "series.nii.gz", str(max(int(rounds) // 4, 4)), "8", most_ms)
