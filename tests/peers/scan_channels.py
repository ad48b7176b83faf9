"""Scans of several channels and overlapping regions, end to end, against numpy around ONNX Runtime.

    python tests/peers/scan_channels.py BIN_DIR [MULTILABEL.onnx]

(needs onnx, onnxruntime, monai, scipy, nibabel, and Debian's mricron-data). Channels are made of ch2; the
networks are random ones of two convolutions. Nothing of this project is in the other pipeline: nibabel reads,
numpy normalises each channel over its own voxels, scipy's map_coordinates brings a channel from another grid
onto the first one's, MONAI's sliding_window_inference blends windows, and nnU-Net's way of painting makes the
map. Labels have to be equal in 99.99 % of the voxels. MULTILABEL.onnx: a network of one channel in and several
regions out, without metadata.
"""
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np
import onnx
import onnxruntime
import torch
from monai.inferers import sliding_window_inference
from onnx import TensorProto, helper, numpy_helper
from scipy import ndimage

CH2 = "/usr/share/mricron/templates/ch2.nii.gz"
PATCH = (48, 64, 56)
bin_dir = pathlib.Path(sys.argv[1])
scratch = tempfile.TemporaryDirectory(prefix="vnet-peer-")
folder = pathlib.Path(scratch.name)
random = np.random.default_rng(21)
worst = 1.0


def model_save(name, inputs, outputs, tail, **metadata):
    """Two convolutions on inputs[i] channels of each input."""
    count, hidden = sum(inputs), 8
    names = [f"in{i}" for i in range(len(inputs))]
    weights = {"w0": random.normal(0, 1 / (27 * count) ** 0.5, (hidden, count, 3, 3, 3)), "b0": random.normal(0, 0.1, hidden),
               "w1": random.normal(0, 2 / (27 * hidden) ** 0.5, (outputs, hidden, 3, 3, 3)), "b1": random.normal(0, 0.05, outputs)}
    nodes = [helper.make_node("Concat", names, ["x"], axis=1)] if len(inputs) > 1 else []
    nodes += [helper.make_node("Conv", ["x" if len(inputs) > 1 else names[0], "w0", "b0"], ["h"], pads=[1] * 6),
              helper.make_node("LeakyRelu", ["h"], ["r"], alpha=0.1),
              helper.make_node("Conv", ["r", "w1", "b1"], ["z"], pads=[1] * 6),
              helper.make_node(tail[0], ["z"], ["y"], **tail[1])]
    graph = helper.make_graph(
        nodes, name, [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, c, *PATCH)) for n, c in zip(names, inputs)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, outputs, *PATCH))],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {f"vnet.{k}": v for k, v in metadata.items()})
    onnx.save(model, folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


def normalised(values, rule):
    word, *numbers = rule.split()
    a, b = map(float, numbers) if numbers else (0, 1)
    if word == "zscore":
        return (values - values.mean(dtype=np.float64)) / values.std(dtype=np.float64)
    if word == "percentile":
        a, b = np.percentile(values, (a, b))
    return values if word == "none" else np.clip((values - a) / (b - a), 0, 1)


def onto(image, first):
    """Values at the first grid's voxel centres, the smallest where the image shows nothing."""
    values = np.asarray(image.dataobj, np.float64)
    route = np.linalg.inv(image.affine) @ first.affine
    ijk = np.moveaxis(np.indices(first.shape[:3]), 0, -1) @ route[:3, :3].T + route[:3, 3]
    at = np.moveaxis(ijk, -1, 0)
    size = np.array(values.shape).reshape(3, 1, 1, 1)
    found = ndimage.map_coordinates(values, at, order=1, mode="nearest")
    return np.where(((at >= -0.5) & (at <= size - 0.5)).all(0), found, values.min())


def scores_of(path, channels, split, patch):
    session = onnxruntime.InferenceSession(path)
    names = [i.name for i in session.get_inputs()]
    bounds = np.cumsum([0, *split])

    def network(x):
        parts = {n: x.numpy()[:, a:b] for n, a, b in zip(names, bounds, bounds[1:])}
        return torch.from_numpy(session.run(None, parts)[0])

    x = torch.from_numpy(np.stack([c.transpose(2, 1, 0) for c in channels]).astype(np.float32))[None]
    return sliding_window_inference(x, patch, 1, network, overlap=0.5, mode="gaussian",
                                    sigma_scale=0.125)[0].numpy().transpose(0, 3, 2, 1)


def painted(scores, order):
    """nnU-Net's: region after region over the ones before; region c is label c + 1."""
    label = np.zeros(scores.shape[1:], np.uint8)
    for c in order:
        label[scores[c] >= 0.5] = c + 1
    return label


def compare(what, have, want):
    global worst
    share = np.mean(have == want)
    worst = min(worst, share)
    print(f"{what}: {have.size} voxels, labels {np.unique(want).tolist()}, equal in {100 * share:.5f} %", flush=True)


def vnet_run(path, scans, *words):
    plan = folder / "plan"
    subprocess.run([bin_dir / "vnetc", path, "-o", plan, "--topology", "any", "-q"], check=True)
    subprocess.run([str(w) for w in (bin_dir / "vnet-run", plan, *scans, "-o", folder / "out.nii", "-q", "--all-windows",
                                     *words)], check=True)
    return np.asanyarray(nibabel.load(folder / "out.nii").dataobj)


def channels_make():
    """Four images of ch2, as four files and as one; the third also on another grid."""
    ch2 = nibabel.load(CH2)
    t1 = np.asarray(ch2.dataobj, np.float32)
    values = [t1, 255 * (t1 / 255) ** 0.6, ndimage.gaussian_filter(255 - t1, 1.5),
              ndimage.gaussian_gradient_magnitude(t1, 1)]
    values = [v.astype(np.float32) for v in values]
    images = [nibabel.Nifti1Image(v, ch2.affine) for v in values]
    turn = np.eye(4)
    angle = 0.2
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ np.diag([1.1, 1.3, 1.0, 1]) @ np.array([[0, 1, 0, -110.0], [-1, 0, 0, 90], [0, 0, 1, -60], [0, 0, 0, 1]])
    shape = (170, 190, 140)
    ijk = np.moveaxis(np.indices(shape), 0, -1)
    route = np.linalg.inv(ch2.affine) @ affine
    at = np.moveaxis(ijk @ route[:3, :3].T + route[:3, 3], -1, 0)
    other = ndimage.map_coordinates(values[2], at, order=1, mode="nearest").astype(np.float32)
    for i, image in enumerate(images):
        nibabel.save(image, folder / f"case_{i:04}.nii")
    nibabel.save(nibabel.Nifti1Image(np.stack(values, 3), ch2.affine), folder / "stack.nii")
    nibabel.save(nibabel.Nifti1Image(other, affine), folder / "other.nii")
    return images


RULES = ("zscore", "percentile 1 99", "window 20 240", "none")
images = channels_make()
values = [np.asarray(i.dataobj) for i in images]
seen = [normalised(v, r) for v, r in zip(values[:3], RULES)] + [normalised(values[3] / 1, "none")]
files = [folder / f"case_{i:04}.nii" for i in range(4)]

four = model_save("four", (4,), 4, ("Softmax", {"axis": 1}), intensity="; ".join(RULES), channels="T1; T1ce; T2; FLAIR")
want = scores_of(four, seen, (4,), PATCH).argmax(0)
compare("four files, four labels", vnet_run(four, files), want)
compare("one file of four volumes", vnet_run(four, [folder / "stack.nii"]), want)

other = nibabel.load(folder / "other.nii")
a, b = 20, 240
moved = [seen[0], seen[1], normalised(onto(other, images[0]), f"window {a} {b}"), seen[3]]
want = scores_of(four, moved, (4,), PATCH).argmax(0)
compare("the third on another grid", vnet_run(four, [*files[:2], folder / "other.nii", files[3]], "--match-grids"), want)

two = model_save("two", (1, 1, 2), 3, ("Sigmoid", {}), intensity="; ".join(RULES),
                 labels='[{"value":2,"name":"whole"},{"value":1,"name":"core"},{"value":3,"name":"enhancing"}]')
scores = scores_of(two, seen, (1, 1, 2), PATCH)
compare("three inputs, regions in the labels' order", vnet_run(two, files, "--regions", folder / "each.nii"), painted(scores, (1, 0, 2)))
compare("each region", np.moveaxis(np.asanyarray(nibabel.load(folder / "each.nii").dataobj), 3, 0), (scores >= 0.5) * np.uint8(1))

for path in sys.argv[2:]:
    shape = onnx.load(path).graph.input[0].type.tensor_type.shape.dim
    scores = scores_of(path, values[:1], (1,), tuple(d.dim_value for d in shape[2:]))
    compare(pathlib.Path(path).name, vnet_run(path, files[:1]), painted(scores, range(len(scores))))
assert worst >= 0.9999, worst
