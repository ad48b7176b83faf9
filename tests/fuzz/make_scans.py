"""Small seed scans for the fuzzer: NIfTI and MGH by nibabel, both versions, byte orders, gzip, odd
types, and NRRD in its encodings.

    make_scans.py FOLDER
"""
import gzip
import pathlib
import sys

import nibabel
import numpy as np

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
affine = np.array([[-1, 0.1, 0, 5], [0, 1.5, 0.2, -7], [0, 0, 2, 9], [0, 0, 0, 1.0]])
values = np.arange(4 * 5 * 6).reshape(4, 5, 6)


def save(name, kind, dtype, order="<", slope=None):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    image = kind(values.astype(dtype), affine, header)
    image.set_qform(affine, code=1, strip_shears=True)
    image.set_sform(affine, code=2)
    if slope:
        image.header.set_slope_inter(*slope)
    nibabel.save(image, folder / name)


save("one.nii", nibabel.Nifti1Image, np.int16)
save("scaled.nii", nibabel.Nifti1Image, np.uint8, slope=(0.5, -3))
save("big.nii", nibabel.Nifti1Image, np.float32, order=">")
save("two.nii", nibabel.Nifti2Image, np.float64)
save("two_big.nii", nibabel.Nifti2Image, np.int32, order=">")
save("one.nii.gz", nibabel.Nifti1Image, np.float32)
save("two.nii.gz", nibabel.Nifti2Image, np.int16)

nibabel.save(nibabel.MGHImage(values.astype(np.int16), affine), folder / "one.mgh")
nibabel.save(nibabel.MGHImage(values.astype(np.float32), affine), folder / "two.mgz")

FIELDS = """NRRD0004
# a comment
type: short
dimension: 3
space: left-posterior-superior
sizes: 4 5 6
space directions: (1,0.1,0) (0,1.5,0.2) (0,0,2)
kinds: domain domain domain
endian: big
encoding: raw
space origin: (5,-7,9)
Segment0_Name:=brain
"""
BARE = """NRRD0001
type: unsigned short int
dimension: 4
sizes: 4 5 6 1
spacings: 1 1.5 2 nan
units: "mm" "um" "mm" ""
encoding: ascii
"""
raw = values.astype(">i2").tobytes(order="F")
(folder / "raw.nrrd").write_bytes(FIELDS.encode() + b"\n" + raw)
(folder / "gzip.nrrd").write_bytes(FIELDS.replace("raw", "gzip").replace("\n", "\r\n").encode() + b"\r\n" +
                                   gzip.compress(raw))
(folder / "text.nrrd").write_bytes(BARE.encode() + b"\n" + " ".join(map(str, values.ravel())).encode())
# The fuzzer calls the file scan.nii: a header whose data file is itself.
(folder / "skips.nhdr").write_bytes(FIELDS.encode() + b"data file: ./scan.nii\nline skip: 3\nbyte skip: -1\n\n" + raw)
