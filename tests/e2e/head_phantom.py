"""The head that examples/segment.c draws, as a NIfTI scan; for tests that compare hosts with vnet-run.

    head_phantom.py write SCAN.nii.gz [TYPE]     TYPE: int16 (default), float32
    head_phantom.py compare LABELS.nii.gz OTHER  OTHER: raw bytes, i fastest, or NIfTI; exits with 1

Keep head() and its grid as they are in segment.c: the comparison fails when they part.
"""
import pathlib
import sys

import nibabel
import numpy as np

SHAPE = 128, 144, 64
LPS = np.array([[1.5625, 0, 0], [0, 1.5, -0.875], [0, 0.4375, 3]])


def head():
    n = np.arange(np.prod(SHAPE), dtype=np.uint32).reshape(SHAPE, order="F")
    i, j, k = np.indices(SHAPE)
    nx, ny, nz = SHAPE
    x = (i - (nx - 1) / 2) / (0.40 * nx)
    y = (j - (ny - 1) / 2) / (0.42 * ny)
    z = (k - (nz - 1) / 2) / (0.40 * nz)
    r = x * x + y * y + z * z
    noise = (n ^ n >> 15) * np.uint32(2246822519)
    noise = (noise ^ noise >> 13) * np.uint32(3266489917)
    return np.where(r > 1, 0, np.where(r > 0.8, 900, 600)) + (noise >> 25).astype(int) - 64


def affine():
    """RAS, as NIfTI has it; every number is exact in its float32."""
    out = np.eye(4)
    out[:3, :3] = np.diag([-1, -1, 1]) @ LPS
    out[:3, 3] = -out[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return out


def write(path, kind="int16"):
    image = nibabel.Nifti1Image(head().astype(kind), affine())
    image.set_qform(affine(), 1)
    image.set_sform(affine(), 1)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def compare(path, other):
    have = np.asanyarray(nibabel.load(path).dataobj)
    if ".nii" in pathlib.Path(other).name:
        want = np.asanyarray(nibabel.load(other).dataobj)
    else:
        want = np.fromfile(other, np.uint8).reshape(have.shape, order="F")
    counts = np.bincount(have.ravel())
    assert have.shape == want.shape, (have.shape, want.shape)
    assert np.count_nonzero(counts) > 1, f"one label alone compares nothing: {counts}"
    different = np.count_nonzero(have != want)
    assert not different, f"{different} of {have.size} voxels differ"
    print("labels are the same:", counts)


if __name__ == "__main__":
    {"write": write, "compare": compare}[sys.argv[1]](*sys.argv[2:])
