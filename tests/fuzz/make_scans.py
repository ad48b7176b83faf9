"""Small seed scans for the fuzzer, written by nibabel: both versions, byte orders, gzip, odd types.

    make_scans.py FOLDER
"""
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
