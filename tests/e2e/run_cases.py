"""Scans, label maps and lists for test_train_cases, written by nibabel, and what numpy makes of them.

    run_cases.py TEST_TRAIN_CASES

Expected images are raw float32 [d][h][w], expected labels uint8, computed here by other means: dense
matrices of weights, one-hot labels, numpy's percentiles and interpolation.
"""
import gzip
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np
from nibabel.affines import from_matvec

scratch = tempfile.TemporaryDirectory(prefix="vnet-cases-")
folder = pathlib.Path(scratch.name)
rng = np.random.default_rng(5)
SPACING = (2.5, 1.2, 1.7)  # of the second grid, d h w


def turned(axes, signs, spacing, angle):
    """The affine of a grid whose axes lie along these world axes, turned by `angle` about z."""
    matrix = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(zip(axes, signs)):
        matrix[axis, column] = sign * spacing[column]
    c, s = np.cos(angle), np.sin(angle)
    return from_matvec(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ matrix, [-20, 14, 33])


def phantom(shape, contrast, noise):
    """Smooth air below, four labels, the third of them rare."""
    x, y, z = (np.linspace(-1, 1, n) for n in shape)
    r = np.sqrt(x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2)
    label = np.digitize(r, [0.3, 0.6, 0.9])
    label = np.array([1, 2, 4, 0], np.uint8)[label]
    label[5, 6, 7] = label[5, 6, 8] = 3
    image = np.array(contrast, np.float64)[label] + noise * rng.standard_normal(shape)
    return image, label


def save(name, data, affine, dtype):
    image = nibabel.Nifti1Image(np.asarray(data, dtype), affine)
    image.header.set_data_dtype(dtype)
    nibabel.save(image, folder / name)


def standing(data, affine):
    """As d h w of RAS, and the spacing along d h w, by nibabel."""
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(np.asarray(data, np.float64), affine))
    return image.get_fdata().transpose(2, 1, 0), np.array(image.header.get_zooms()[::-1], np.float64)


def weights(inputs, ratio):
    """[outputs, inputs]: the triangle of grid.h on centred grids."""
    if abs(ratio - 1) <= 0.01:
        return np.eye(inputs)
    outputs = int(np.ceil(inputs / ratio - 1e-3))
    at = np.clip((inputs - 1) / 2 + (np.arange(outputs) - (outputs - 1) / 2) * ratio, 0, inputs - 1)
    w = np.maximum(0, max(1, ratio) - abs(np.arange(inputs)[None] - at[:, None]))
    return w / w.sum(1, keepdims=True)


def percentile(image):
    low, high = np.percentile(image, [0.5, 99.5])
    return lambda x: np.clip((x - low) / (high - low), 0, 1)


def landmarks(x):
    above = x[x >= x.mean()]
    return np.concatenate([[x.min(), x.mean()], np.quantile(above, np.arange(1, 128) / 128), [x.max()]])


def expect(name, image, label, affine):
    data, spacing = standing(image, affine)
    seg = standing(label, affine)[0].astype(np.uint8)
    rule = percentile(image)
    rule(data).astype(np.float32).tofile(folder / f"{name}.own.f32")
    seg.tofile(folder / f"{name}.own.u8")
    w = [weights(n, want / have) for n, want, have in zip(data.shape, SPACING, spacing)]
    along = "zd,yh,xw,dhw->zyx"
    out = rule(np.einsum(along, *w, data, optimize=True))
    votes = np.stack([np.einsum(along, *w, (seg == c) * 1.0, optimize=True) for c in range(5)])
    out.astype(np.float32).tofile(folder / f"{name}.grid.f32")
    best = votes.argmax(0).astype(np.uint8)
    top = np.sort(votes, 0)
    best[top[-1] - top[-2] < 1e-5] = 255  # either will do
    best.tofile(folder / f"{name}.grid.u8")
    np.array([*data.shape, *out.shape], np.uint64).tofile(folder / f"{name}.dim")
    return rule(data)


a_affine = turned((1, 0, 2), (-1, -1, 1), (1.1, 1.4, 2.0), 0.1)
b_affine = turned((0, 2, 1), (1, -1, 1), (1.5, 1.0, 1.3), 0)
a_image, a_label = phantom((44, 39, 26), (30, 400, 700, 900, 250), 20)
b_image, b_label = phantom((30, 41, 36), (0, 9, 3, 6, 5), 0.4)
a_image = np.round(a_image)
save("a.nii.gz", a_image, a_affine, np.int16)
save("a_seg.nii", a_label, a_affine, np.uint8)
save("b, 2.nii", b_image, b_affine, np.float32)
save("b_seg.nii.gz", b_label, b_affine, np.float32)
save("c.nii.gz", a_image, b_affine, np.float64)
save("c_seg.nii.gz", a_label, b_affine, np.int32)
a = expect("a", a_image, a_label, a_affine)
b = expect("b", b_image.astype(np.float32), b_label, b_affine)
np.interp(a, landmarks(a), landmarks(b)).astype(np.float32).tofile(folder / "matched.f32")

(folder / "good.csv").write_bytes(
    b'\xef\xbb\xbflabel, "split" ,image\r\n'
    b"a_seg.nii,train,a.nii.gz\r\n\r\n"
    b'c_seg.nii.gz , validation,"%s/c.nii.gz"\r\n' % bytes(folder) +
    b'b_seg.nii.gz,train,"b, 2.nii"')
(folder / "plain.csv").write_text("image,label\na.nii.gz,a_seg.nii\n")

# A second channel that is the first one's negative, and a case without labels.
save("negative.nii", 300 - a_image, a_affine, np.float32)
(folder / "channels.csv").write_text("image_t1,label,image_T2\na.nii.gz,a_seg.nii,negative.nii\n"
                                     "a.nii.gz,none,negative.nii\n")
# The same in one field; and a file with a semicolon in its name is one file.
(folder / "fields.csv").write_text("label,image\na_seg.nii,a.nii.gz; negative.nii\nnone,a.nii.gz ;negative.nii\n")
(folder / "a;1.nii.gz").write_bytes((folder / "a.nii.gz").read_bytes())
(folder / "semicolon.csv").write_text("image,label\na;1.nii.gz,a_seg.nii\n")
values = np.array([0, 17, 53, 3000, 99], np.int32)[a_label]
save("values.nii", values, a_affine, np.int32)
(folder / "values.csv").write_text("image,label\na.nii.gz,values.nii\n")
(folder / "table.csv").write_text("class,value,mirror,name\n1,17,2,left\n2,53,1,\n2,3000,,right\nignore,99,,\n")

for name, value in (("lowest", a_image[2:].min()), ("filled", -20000)):  # two border columns
    ends = a_image.copy()
    ends[:2] = value
    save(f"{name}.nii", ends, a_affine, np.int16)
    (folder / f"{name}.csv").write_text(f"image,label\n{name}.nii,a_seg.nii\n")

# What has to be refused: the list, the status, a part of the sentence. One file for each.
bad_label = a_label.astype(np.float32)
holes = a_image.astype(np.float32)


def changed(data, value):
    out = np.array(data, np.float32)
    out[3, 4, 5] = value
    return out


save("five.nii", changed(bad_label, 5), a_affine, np.float32)
save("minus.nii", changed(bad_label, -1), a_affine, np.float32)
save("half.nii", changed(bad_label, 1.5), a_affine, np.float32)
save("nothing.nii.gz", 0 * a_label, a_affine, np.uint8)
save("nan.nii", changed(holes, np.nan), a_affine, np.float32)
save("flat.nii", 0 * holes + 7, a_affine, np.float32)
save("small.nii", a_label[:-1], a_affine, np.uint8)
moved = a_affine.copy()
moved[2, 3] += 0.4
save("moved.nii", a_label, moved, np.uint8)
moved[2, 3] = a_affine[2, 3] + 1e-3
save("nearly.nii", a_label, moved, np.uint8)
(folder / "nearly.csv").write_text("image,label\na.nii.gz,nearly.nii\n")
image = nibabel.Nifti1Image(a_label, None)
image.header.set_zooms((1.1, 1.4, 2.0))
image.header["qform_code"] = image.header["sform_code"] = 0
nibabel.save(image, folder / "lost.nii")
whole = (folder / "a.nii.gz").read_bytes()
(folder / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
(folder / "text.nii").write_text("no scan at all, but long enough to hold a header\n" * 20)
dust = 0 * a_label
dust[5, 6, 7] = 3
save("dust.nii", dust, a_affine, np.uint8)

FORMAT, IO, UNSUPPORTED = 4, 3, 5
good = "a.nii.gz,a_seg.nii"
split = "image,label,split\n" + good + ",train\n"
cases = [
    ("image,label\na.nii.gz,five.nii\n", FORMAT, "line 2: {}five.nii: voxel 3 4 5 is 5, and the labels are 0 to 4"),
    ("image,label\na.nii.gz,minus.nii\n", FORMAT, "line 2: {}minus.nii: voxel 3 4 5 is -1, and the labels are 0 to 4"),
    ("image,label\na.nii.gz,half.nii\n", FORMAT, "voxel 3 4 5 is 1.5, not a whole number from 0 to 4"),
    (split + "a.nii.gz,half.nii,validation\n", FORMAT, "line 3: {}half.nii: voxel 3 4 5 is 1.5"),
    ("image,label\na.nii.gz,nothing.nii.gz\na.nii.gz,none\n", FORMAT, "nothing is labelled in any case to train on"),
    ("image,label\nnan.nii,a_seg.nii\n", FORMAT, "line 2: {}nan.nii: 1 of 44616 voxels are NaN"),
    (split + "nan.nii,a_seg.nii,validation\n", FORMAT, "line 3: {}nan.nii: 1 of 44616 voxels are NaN"),
    ("image,label\nflat.nii,a_seg.nii\n", UNSUPPORTED, "line 2: {}flat.nii: percentiles 0.5 and 99.5"),
    ("image,label\na.nii.gz,small.nii\n", FORMAT, "{}small.nii has 43 x 39 x 26 voxels, its image 44 x 39 x 26"),
    ("image,label\na.nii.gz,moved.nii\n", FORMAT, "{}moved.nii lies elsewhere than its image: voxel 0 0 0 is at"),
    ("image,label\na.nii.gz,moved.nii\n", FORMAT, "0.364 voxels apart"),
    ("image,label\na.nii.gz,lost.nii\n", FORMAT, "{}lost.nii lies elsewhere than its image"),
    ("image,label\nlost.nii,lost.nii\n", UNSUPPORTED, "lost.nii: the model wants RAS, but the scan has neither sform nor"),
    ("image,label\ncut.nii.gz,a_seg.nii\n", FORMAT, "line 2: {}cut.nii.gz: truncated"),
    (split + "cut.nii.gz,a_seg.nii,validation\n", FORMAT, "line 3: {}cut.nii.gz: truncated"),
    ("image,label\na.nii.gz,text.nii\n", FORMAT, "line 2: {}text.nii: "),
    ("image,label\n" + good + "\n\nabsent.nii,a_seg.nii\n", IO, "line 4: {}absent.nii: No such file"),
    # Of several the first in the list, though the others fail sooner.
    ("image,label\n" + good + "\nnan.nii,a_seg.nii\n" + 6 * "absent.nii,a_seg.nii\n", FORMAT, "line 3: {}nan.nii"),
    ("image,label\na.nii.gz,five.nii\n" + 6 * "absent.nii,a_seg.nii\n", FORMAT, "line 2: {}five"),
    ("image,label,split\n" + good + ",validation\n", FORMAT, ".csv: there is no case to train on"),
    ("image,label\n", FORMAT, "there is no case to train on"),
    ("", FORMAT, "it is empty"),
    (good + "\n", FORMAT, "line 1: column 'a.nii.gz' is none of image, image_NAME, label and split"),
    ("image;label\n", FORMAT, "column 'image;label' is none of"),
    ("image,label,Split\n", FORMAT, "column 'Split' is none of"),
    ("image,label,image\n", FORMAT, "line 1: column 'image' is there twice"),
    ("image,split\n", FORMAT, "line 1: there is no column 'label'"),
    ("image,label,split\n" + good + ",test\n", FORMAT, "line 2: split is 'test', neither train nor validation"),
    ("image,label,split\n" + good + "\n", FORMAT, "line 2: fields: 2, but 3 columns"),
    ("image,label\na.nii.gz,\n", FORMAT, "line 2: no label; of a case where nothing is labelled"),
    ("image_t1,image_t2,label\na.nii.gz,,a_seg.nii\n", FORMAT, "line 2: no image of the channel t2"),
    ("image_t1,image,label\na.nii.gz,a.nii.gz,a_seg.nii\n", FORMAT, "line 1: the column 'image' is one of several"),
    ("image_t1,image_T1,label\na.nii.gz,a.nii.gz,a_seg.nii\n", FORMAT, "column 'image_T1' is there twice"),
    ("image_a;b,label\na.nii.gz,a_seg.nii\n", FORMAT, "none of = / ;"),
    ("image_t1,image_t2,label\na.nii.gz,small.nii,a_seg.nii\n", FORMAT, "{}small.nii has 43 x 39 x 26 voxels"),
    ("image_t1,image_t2,label\na.nii.gz,moved.nii,a_seg.nii\n", FORMAT, "{}moved.nii lies elsewhere than its image"),
    ("image,label\na.nii.gz;a.nii.gz,a_seg.nii\n" + good + "\n", FORMAT, "line 3: files of the image: 1, and 2 before"),
    ("image,label\na.nii.gz; ;a.nii.gz,a_seg.nii\n", FORMAT, "line 2: no image"),
    ("image,label\n" + 32 * "a.nii.gz;" + "a.nii.gz,a_seg.nii\n", FORMAT, "line 2: more than 32 channels"),
    ("image,label\na.nii.gz;absent.nii,a_seg.nii\n", IO, "line 2: {}absent.nii: No such file"),
    ("image,label\na.nii.gz;small.nii,a_seg.nii\n", FORMAT, "{}small.nii has 43 x 39 x 26 voxels"),
    ('image,label\n"a.nii.gz,a_seg.nii\n', FORMAT, "line 2: a quote is not closed"),
    ('image,label\n"a.nii.gz"x,a_seg.nii\n', FORMAT, "line 2: text after a closing quote"),
    ("image,label\n" + 70 * "," + "\n", FORMAT, "line 2: more than 64 fields"),
    ("image,label\na\0.nii,a_seg.nii\n", FORMAT, "line 2: a control character"),
    ("image,label\ra.nii,a_seg.nii\r", FORMAT, "line 1: a control character"),
    ("image,label\n" + "x" * (17 << 20), FORMAT, "more than 16 MiB"),
]
with open(folder / "refused.txt", "w") as table:
    for i, (text, status, sentence) in enumerate(cases):
        (folder / f"bad{i}.csv").write_bytes(text.encode())
        print(f"bad{i}.csv", status, sentence.replace("{}", f"{folder}/"), sep="\t", file=table)
    print("absent.csv", IO, "absent.csv: No such file", sep="\t", file=table)
    print("", IO, "a folder, not a file", sep="\t", file=table)
(folder / "dust.csv").write_text("image,label\na.nii.gz,dust.nii\n")

sys.exit(subprocess.run([sys.argv[1], folder]).returncode)
