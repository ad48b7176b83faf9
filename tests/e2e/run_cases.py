"""Scans, label maps and lists for test_train_cases and test_train_samples, written by nibabel, and
what numpy makes of them.

    run_cases.py PROGRAM

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
# Three channels: a file for each, or in files of several volumes, on the last axis, the fifth, the first.
three = [np.stack([image, 300 - image, np.sqrt(abs(image))], 3).astype(np.float32) for image in (a_image, a_image[::-1])]
mgh_affine = nibabel.MGHImage(three[0], a_affine).header.get_affine()  # which float32 keeps


def nrrd_save(name, stack, affine, first):
    """Channels on the first axis, as vectors, or on the last."""
    directions = ["({:.17g},{:.17g},{:.17g})".format(*affine[:3, i]) for i in range(3)]
    sizes = [str(n) for n in stack.shape[:3]]
    for words, extra in ((directions, "none"), (sizes, str(stack.shape[3]))):
        words.insert(0 if first else 3, extra)
    head = (f"NRRD0004\ntype: float\ndimension: 4\nspace: right-anterior-superior\nsizes: {' '.join(sizes)}\n"
            f"space directions: {' '.join(directions)}\nendian: little\nencoding: gzip\n"
            "space origin: ({:.17g},{:.17g},{:.17g})\n\n".format(*affine[:3, 3]))
    raw = np.ascontiguousarray(stack.transpose(2, 1, 0, 3) if first else stack.transpose(3, 2, 1, 0))
    (folder / name).write_bytes(head.encode() + gzip.compress(raw.astype("<f4").tobytes(), 1))


for case, stack in enumerate(three):
    for c, name in enumerate("abc"):
        save(f"{name}{case}.nii.gz", stack[..., c], mgh_affine, np.float32)
    save(f"abc{case}.nii.gz", stack, mgh_affine, np.float32)
    save(f"ab{case}.nii", stack[..., :2], mgh_affine, np.float32)
    save(f"abct{case}.nii.gz", stack[:, :, :, None], mgh_affine, np.float32)
    nibabel.save(nibabel.MGHImage(stack, a_affine), folder / f"abc{case}.mgz")
    nrrd_save(f"first{case}.nrrd", stack, mgh_affine, True)
    nrrd_save(f"last{case}.nrrd", stack, mgh_affine, False)
save("seg3.nii", a_label, mgh_affine, np.uint8)
for name, head, fields in (("apart", "image_a,image_b,image_c", "a{}.nii.gz,b{}.nii.gz,c{}.nii.gz"),
                           ("volumes", "image_a;b;c", "abc{}.nii.gz"), ("volumes5", "image_a; b; c", "abct{}.nii.gz"),
                           ("volumes_mgz", "image_a;b;c", "abc{}.mgz"), ("volumes_nrrd", "image_a;b;c", "first{}.nrrd"),
                           ("volumes_t", "image_a;b;c", "last{}.nrrd"), ("bare", "image", "abc{}.nii.gz")):
    (folder / f"{name}.csv").write_text(f"{head},label\n" + "".join(fields.replace("{}", str(k)) + ",seg3.nii\n" for k in (0, 1)))
# One case in two files, the other in three.
(folder / "volumes_mixed.csv").write_text("image_a;b;c,label\nab0.nii ; c0.nii.gz,seg3.nii\n"
                                          "a1.nii.gz;b1.nii.gz;c1.nii.gz,seg3.nii\n")
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
save("seg4.nii.gz", np.stack([a_label > 0, a_label > 1], 3), mgh_affine, np.uint8)
spotted = three[0].copy()
spotted[3, 4, 5, 1] = np.nan
save("spotted.nii", spotted, mgh_affine, np.float32)
save("long.nii.gz", np.zeros((4, 4, 4, 33)), np.eye(4), np.uint8)
save("seven.nii", np.zeros((4, 4, 4, 3, 2)), np.eye(4), np.uint8)
(folder / "cut4.nii.gz").write_bytes((folder / "abc0.nii.gz").read_bytes()[:20000])
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
    ("image_t1,image,label\na.nii.gz,a.nii.gz,a_seg.nii\n", FORMAT, "line 1: of several columns for images each is one"),
    ("image_t1,image_T1,label\na.nii.gz,a.nii.gz,a_seg.nii\n", FORMAT, "column 'image_T1' is there twice"),
    ("image_a;b,image_c,label\n", FORMAT, "line 1: of several columns for images each is one channel"),
    ("image,image_c,label\n", FORMAT, "line 1: of several columns for images each is one channel"),
    ("image_a=b,label\n", FORMAT, "line 1: channels 'a=b': their names differ, have at most 63 bytes and none of = and /"),
    ("image_a;A,label\n", FORMAT, "line 1: channels 'a;A': their names differ"),
    ("image_t1,image_ T1,label\n", FORMAT, "line 1: channels 't1; T1': their names differ"),
    ("image_a;;b,label\n", FORMAT, "line 1: channels 'a;;b': "),
    ("image_" + "a;" * 32 + "a,label\n", FORMAT, "line 1: more than 32 channels"),
    (",".join(f"image_{i}" for i in range(33)) + ",label\n", FORMAT, "line 1: more than 32 channels"),
    # Volumes are counted in the first case, or by the names, and then the same in all.
    ("image,label\nabc0.nii.gz,seg3.nii\nab0.nii,seg3.nii\n", FORMAT,
     "line 3: {}ab0.nii: the image has 2 volumes in 1 file, and the first case has 3"),
    ("image,label,split\nabc0.nii.gz,seg3.nii,train\na0.nii.gz,seg3.nii,validation\n", FORMAT,
     "line 3: {}a0.nii.gz: the image has 1 volume in 1 file, and the first case has 3"),
    ("image_a;b,label\nabc0.nii.gz,seg3.nii\n", FORMAT,
     "line 2: {}abc0.nii.gz: the image has 3 volumes in 1 file, and the channels that the list names are 2"),
    ("image_a,label\nabc0.nii.gz,seg3.nii\n", FORMAT, "3 volumes in 1 file, and the channels that the list names are 1"),
    ("image_a,image_b,label\na0.nii.gz,ab0.nii,seg3.nii\n", FORMAT,
     "line 2: {}ab0.nii: the image has 3 volumes in 2 files, and the channels that the list names are 2"),
    ("image,label\nlong.nii.gz,none\n", UNSUPPORTED, "line 2: {}long.nii.gz: the image has 33 volumes, which are channels"),
    ("image,label\nseven.nii,none\n", UNSUPPORTED, "each of which is a series of its own"),
    ("image,label\nabc0.nii.gz,seg4.nii.gz\n", UNSUPPORTED, "line 2: {}seg4.nii.gz: it has 2 volumes, and a label map has one"),
    ("image,label\nabc0.nii.gz,small.nii\n", FORMAT,
     "line 2: {}small.nii has 43 x 39 x 26 voxels, its image 44 x 39 x 26"),
    ("image,label\nab0.nii; moved.nii,seg3.nii\n", FORMAT, "line 2: {}moved.nii lies elsewhere than its image"),
    ("image,label\nspotted.nii,seg3.nii\n", FORMAT, "line 2: {}spotted.nii: volume 2 of 3: 1 of 44616 voxels are NaN"),
    ("image,label\nabc0.nii.gz,seg3.nii\ncut4.nii.gz,seg3.nii\n", FORMAT, "line 3: {}cut4.nii.gz: truncated"),
    ("image,label\nabsent.nii,seg3.nii\n", IO, "line 2: {}absent.nii: No such file"),
    ("image_t1,image_t2,label\na.nii.gz,small.nii,a_seg.nii\n", FORMAT, "{}small.nii has 43 x 39 x 26 voxels"),
    ("image_t1,image_t2,label\na.nii.gz,moved.nii,a_seg.nii\n", FORMAT, "{}moved.nii lies elsewhere than its image"),
    ("image,label\na.nii.gz;a.nii.gz,a_seg.nii\n" + good + "\n", FORMAT,
     "line 3: {}a.nii.gz: the image has 1 volume in 1 file, and the first case has 2"),
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
