"""What heads.sh has unpacked here, as 3D NIfTI files in a folder.

heads.py FOLDER
"""

import glob
import gzip
import json
import os
import plistlib
import shutil
import sys

import nibabel as nib
import numpy as np
from scipy import ndimage

out = sys.argv[1]


def save(name, data, affine):
    while data.ndim > 3:
        data = data[..., 0]
    if data.dtype == np.float64:
        data = data.astype(np.float32)
    data = np.ascontiguousarray(data.astype(data.dtype.newbyteorder("=")))
    im = nib.Nifti1Image(data, affine)
    im.set_sform(affine, 1)
    im.set_qform(affine, 1)
    im.header.set_xyzt_units("mm")
    nib.save(im, os.path.join(out, name + ".nii.gz"))
    print(
        name,
        data.shape,
        np.round(im.header.get_zooms(), 3).tolist(),
        "".join(nib.aff2axcodes(affine)),
        data.dtype,
        data.min(),
        data.max(),
    )


def nifti(name, pattern):
    (f,) = glob.glob(pattern, recursive=True)
    im = nib.load(f)
    d = np.asanyarray(im.dataobj)
    save(name, d, im.affine)


def mask_of(name, pattern):
    """SPM's brain mask, a share of brain in each voxel, on the grid of a scan that is saved already."""
    (f,) = glob.glob(pattern)
    scan, mask = nib.load(os.path.join(out, name + ".nii.gz")), nib.load(f)
    to = np.linalg.inv(mask.affine) @ scan.affine
    share = ndimage.affine_transform(
        mask.get_fdata(), to[:3, :3], to[:3, 3], output_shape=scan.shape, order=1
    )
    save(name + "-mask", ndimage.binary_fill_holes(share > 0.5).astype(np.uint8), scan.affine)


def minc_raw(name, stem):
    """BrainBrowser's raw bytes + JSON header made by its minc2volume (MINC world is RAS+)."""
    h = json.loads(gzip.open(stem + ".header.gz").read())
    shape = [h[a]["space_length"] for a in h["order"]]
    d = np.frombuffer(gzip.open(stem + ".raw.gz").read(), np.uint8).reshape(shape)
    order = list(h["order"])
    if order[0] == "time":
        d, order = d[0], order[1:]
    axes = ["xspace", "yspace", "zspace"]
    d = d.transpose([order.index(a) for a in axes])
    A = np.eye(4)
    for k, a in enumerate(axes):
        c = np.array(h[a]["direction_cosines"], float)
        A[:3, k] = c * h[a]["step"]
        A[:3, 3] += c * h[a]["start"]
    save(name, d, A)


def inv3(name, pattern):
    (p,) = glob.glob(pattern)
    m = plistlib.load(open(p, "rb"))
    x = m["matrix"]
    d = np.fromfile(os.path.join(os.path.dirname(p), x["filename"]), x["dtype"]).reshape(x["shape"])
    d = d.transpose(2, 1, 0)  # file is z, y, x
    sx, sy, sz = m["spacing"]
    A = np.diag(
        [-sx, sy, sz, 1.0]
    )  # rows stored bottom up: y to A; x to L by DICOM custom (the file names no side)
    A[:3, 3] = [sx * (d.shape[0] - 1) / 2, -sy * (d.shape[1] - 1) / 2, -sz * (d.shape[2] - 1) / 2]
    save(name, d, A)


inv3("ct_invesalius", "inv/*/main.plist")
for n, s in (
    ("t1_brainbrowser1", "structural1"),
    ("t1_brainbrowser2", "structural2"),
    ("epi_brainbrowser", "functional"),
):
    minc_raw(n, "bb/package/examples/models/%s.mnc" % s)
nifti("t1_pycortex", "pc/*/filestore/db/S1/anatomicals/raw.nii.gz")
nifti("epi_pycortex", "pc/*/filestore/db/S1/transforms/fullhead/reference.nii.gz")
nifti("t1avg_pydeface", "pd/pydeface/data/mean_reg2mean.nii.gz")
for n, f in (("t2avg_spm", "canonical/avg152T2"), ("pdavg_spm", "canonical/avg152PD")):
    nifti(n, "spmctf/fsroot/_spm/cleaned/spm/%s.nii" % f)
    mask_of(n, "spmctf/fsroot/_spm/cleaned/spm/toolbox/FieldMap/brainmask.nii")
for kind in ("pia_lh", "pia_rh", "wm_lh", "wm_rh"):
    (f,) = glob.glob("pc/*/filestore/db/S1/surfaces/%s.gii" % kind)
    shutil.copyfile(f, os.path.join(out, "t1_pycortex-%s.gii" % kind))
nifti("t1_itk", "deb/insighttoolkit5-examples/**/KmeansTest_T1UCharRaw.nii.gz")
