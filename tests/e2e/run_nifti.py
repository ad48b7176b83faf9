"""The scan reader and label writer against nibabel: versions, types, byte orders, scaling, pairs.

    run_nifti.py SCAN_DUMP [REAL_SCAN]
"""
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

dump = sys.argv[1]
scratch = tempfile.TemporaryDirectory(prefix="vnet-scan-")
folder = pathlib.Path(scratch.name)
random = np.random.default_rng(2)
TYPES = "u1 i1 i2 u2 i4 u4 i8 u8 f4 f8".split()
turn = np.array([[0.1, -1.9, 0.3, 7.7], [1.1, 0.2, -0.4, -80], [0.1, 0.5, 2.8, 33], [0, 0, 0, 1]])
checked = 0


def compare(path, extension):
    """Dumps the scan at `path` and compares voxels, grid and geometry with nibabel's reading."""
    global checked
    seen, labels = folder / "seen.npy", folder / f"labels{extension}"
    subprocess.run([dump, path, seen, labels], check=True)
    want, have = nibabel.load(path), nibabel.load(labels)
    values = np.asanyarray(want.dataobj, dtype=np.float64).reshape(want.shape[:3], order="F")
    np.testing.assert_allclose(np.load(seen).T, values.astype(np.float32), rtol=2e-7, atol=0)
    assert have.shape == want.shape, (have.shape, want.shape)
    assert have.get_data_dtype() == np.uint8
    assert type(have) is (nibabel.Nifti2Image if want.header["sizeof_hdr"] == 540
                          else nibabel.Nifti1Image)
    assert np.array_equal(have.affine, want.affine)
    for field in ("qform_code", "sform_code", "pixdim", "xyzt_units", "dim_info", "srow_x",
                  "srow_y", "srow_z", "quatern_b", "quatern_c", "quatern_d", "qoffset_x",
                  "qoffset_y", "qoffset_z"):
        assert np.array_equal(have.header[field], want.header[field]), field
    assert have.header["intent_code"] == 1002
    assert have.header["descrip"].item() == b"scan_dump"
    index = np.arange(np.prod(want.shape)).reshape(want.shape, order="F")
    assert np.array_equal(np.asanyarray(have.dataobj), index % 7)
    checked += 1


def values_of(dtype, shape):
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (random.standard_normal(shape) * 1e3).astype(kind)
    info = np.iinfo(kind)
    # int64's own ends round to the same float; nibabel's scaling goes by way of float64 as ours
    return random.integers(info.min, info.max, shape, dtype=kind, endpoint=True)


def save(path, image, dtype, order, slope):
    """nibabel chooses its own scaling on saving; the stored bytes are written past it."""
    header = image.header_class(endianness=order)
    shape = (5, 4, 3, 1) if dtype == "i2" else (5, 4, 3)
    data = values_of(dtype, shape)
    header.set_data_dtype(np.dtype(order + dtype))
    header.set_data_shape(shape)
    header.set_sform(turn, code=2)
    header.set_qform(turn, code=1, strip_shears=True)
    header.set_xyzt_units("mm", "sec")
    header.set_dim_info(0, 1, 2)
    header["descrip"] = b"before"
    header["vox_offset"] = 544 if header["sizeof_hdr"] == 540 else 352
    header["scl_slope"], header["scl_inter"] = slope
    pair = path.suffix == ".hdr"
    if pair:
        header["magic"] = header.pair_magic
        header["vox_offset"] = 0
    raw = data.astype(np.dtype(order + dtype)).tobytes(order="F")
    head = header.binaryblock
    if pair:
        path.write_bytes(head)
        path.with_suffix(".img").write_bytes(raw)
    else:
        opener = nibabel.openers.Opener(path, "wb")
        opener.write(head + b"\0\0\0\0" + raw)
        opener.close()


for image in (nibabel.Nifti1Image, nibabel.Nifti2Image):
    for dtype in TYPES:
        for order in "<>":
            for slope in ((1, 0), (0, 5), (0.37, -12.5)):
                suffix = random.choice([".nii", ".nii.gz"])
                path = folder / f"scan{suffix}"
                save(path, image, dtype, order, slope)
                compare(path, random.choice([".nii", ".nii.gz"]))
for image in (nibabel.Nifti1Pair, nibabel.Nifti2Pair):
    for order in "<>":
        save(folder / "pair.hdr", image, "i2", order, (2, 1))
        compare(folder / "pair.hdr", ".nii")

# What nibabel writes left to itself, and a header extension to step over.
plain = nibabel.Nifti1Image(values_of("f4", (6, 5, 4)), turn)
plain.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 100))
nibabel.save(plain, folder / "plain.nii.gz")
compare(folder / "plain.nii.gz", ".nii.gz")
if len(sys.argv) > 2 and pathlib.Path(sys.argv[2]).exists():
    compare(pathlib.Path(sys.argv[2]), ".nii.gz")
print(f"{checked} scans read and labelled as nibabel sees them")
