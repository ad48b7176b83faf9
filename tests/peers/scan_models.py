"""Tiny ONNX models whose segmentation of a scan is known in closed form, for tests/e2e/run_scan.py.

    python tests/peers/scan_models.py        (needs onnx; rewrites tests/fixtures/scan)
"""
import pathlib

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

folder = pathlib.Path(__file__).parent.parent / "fixtures" / "scan"
folder.mkdir(parents=True, exist_ok=True)
PATCH = (8, 12, 16)


def save(name, weight, bias, tail=(), outputs=None, output_type=TensorProto.FLOAT, patch=PATCH,
         inputs=None, batch=1, last=False, **metadata):
    """One convolution with `weight`, then the nodes of `tail`; `inputs`: one of each name, of one
    channel, in the place of the input x; `last`: channels come last at the door, as in TensorFlow."""
    weight = np.asarray(weight, np.float32)
    pad = weight.shape[2] // 2
    count = 1 if inputs else weight.shape[1]
    nodes = [helper.make_node("Concat", inputs, ["x"], axis=1)] if inputs else []
    nodes += [helper.make_node("Conv", ["x", "w", "b"], ["t0"], name="conv", pads=[pad] * 6)]
    for i, (op, attributes) in enumerate(tail):
        nodes.append(helper.make_node(op, [f"t{i}"], [f"t{i + 1}"], name=f"{op}{i}", **attributes))
    if last:
        nodes.insert(0, helper.make_node("Transpose", ["x"], ["x_first"], name="first", perm=[0, 4, 1, 2, 3]))
        nodes[1].input[0] = "x_first"
        nodes.append(helper.make_node("Transpose", [nodes[-1].output[0]], ["t"], name="last", perm=[0, 2, 3, 4, 1]))
    nodes[-1].output[0] = "y"

    def shape(channels):
        return (batch, *patch, channels) if last else (batch, channels, *patch)

    graph = helper.make_graph(
        nodes, name,
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, shape(count)) for x in inputs or ["x"]],
        [helper.make_tensor_value_info("y", output_type, shape(outputs or len(weight)))],
        [numpy_helper.from_array(weight, "w"),
         numpy_helper.from_array(np.asarray(bias, np.float32), "b")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    helper.set_model_props(model, {f"vnet.{k}": v for k, v in metadata.items()})
    onnx.checker.check_model(model)
    onnx.save(model, folder / f"{name}.onnx")


# The whole number nearest to x, from 0 to 3: k x - k^2 / 2 is largest for it.
k = np.arange(4)
levels = (k.reshape(4, 1, 1, 1, 1), -k * k / 2)
save("levels", *levels, intensity="none")
save("levels_batch", *levels, intensity="none", batch=3)
save("levels_last", *levels, intensity="none", last=True)
save("levels_argmax", *levels, [("ArgMax", {"axis": 1, "keepdims": 1})], outputs=1,
     output_type=TensorProto.INT64)

# Which way x grows by more than 0.05 per voxel: 1 and 2 along w and back, 3 and 4 h, 5 and 6 d.
steps = np.zeros((7, 1, 3, 3, 3))
for axis in range(3):
    for back in range(2):
        at = [1, 1, 1]
        for end, sign in ((0, -0.5), (2, 0.5)):
            at[2 - axis] = end
            steps[1 + 2 * axis + back, 0, at[0], at[1], at[2]] = sign * (1 - 2 * back)
save("gradient", steps, [0.05] + [0] * 6, orientation="RAS", spacing_mm="1 1.5 2",
     intensity="window 0 100")

# One channel: x above its mean by one standard deviation or more; without the sigmoid, no scan.
one = ([[[[[1]]]]], [-1])
save("gate", *one, [("Sigmoid", {})], intensity="zscore")
save("gate_logit", *one, intensity="zscore")

# The nearest of five intensities, for the phantoms of tests/e2e/run_phantom.py: 3 lies in 1 and 4
# in 2, so that on every border the classes of the mixtures are the two that meet there.
mu = np.array([0, 100, -100, 200, -200]) / 100
nearest = ((mu / 100).reshape(5, 1, 1, 1, 1), -mu * mu / 2)
NAMES = '[{"value":1,"name":"shell","colour":"#e6b400"},{"value":3,"name":"core"}]'
for name, patch in (("phantom", (32, 48, 40)), ("phantom_large", (64, 128, 128))):
    save(name, *nearest, [("Softmax", {"axis": 1})], patch=patch, orientation="RAS",
         spacing_mm="1 1 1", intensity="none", labels=NAMES)

# Blended windows against MONAI and ONNX Runtime (tests/peers/onnx_window.py): a network that sees
# its neighbourhood and, by its padding, where in the window a voxel lies.
blur = np.random.default_rng(11).normal(0, 0.15, (3, 1, 7, 7, 7))
save("blend", blur, [0.1, 0, -0.1], [("Softmax", {"axis": 1})], patch=(16, 24, 20),
     intensity="none")

# How steeply x grows per mm, and where to, on an anisotropic grid whose axes are not the world's:
# 1 and 2 towards P and back, 3 and 4 S, 5 and 6 R by 1 per mm; 7 to 12 the same by 2 per mm.
spacing = (2, 1, 0.5)  # along w, h, d
means = np.zeros((13, 3))
for steep in range(2):
    for axis in range(3):
        for back in range(2):
            means[1 + 6 * steep + 2 * axis + back, axis] = (1 + steep) * (1 - 2 * back)
slopes = np.zeros((13, 1, 3, 3, 3))
for axis in range(3):
    for end, sign in ((0, -1), (2, 1)):
        at = [1, 1, 1]
        at[2 - axis] = end
        slopes[:, 0, at[0], at[1], at[2]] = sign * means[:, axis] / (2 * spacing[axis])
save("slopes", slopes, -(means**2).sum(1) / 2, patch=(64, 32, 20), orientation="PSR",
     spacing_mm="2 1 0.5", intensity="none")

# Several channels: the label is the channel whose normalised value is highest, of four with a name
# and a rule each, or of two inputs.
FOUR = dict(channels="T1; T1ce; T2; FLAIR", intensity="window 0 10; window 0 20; window 0 40; window 0 80")
save("channels4", np.eye(4).reshape(4, 4, 1, 1, 1), [0] * 4, orientation="RAS", **FOUR)
save("inputs2", np.eye(2).reshape(2, 2, 1, 1, 1), [0] * 2, inputs=["pet", "ct"], orientation="RAS",
     intensity="window 0 10; window -100 100")
save("sum4", np.ones((1, 4, 1, 1, 1)), [-2], [("Sigmoid", {})], patch=(32, 48, 40), orientation="RAS",
     spacing_mm="1 1 1", **FOUR)

# Regions that overlap, as a sigmoid over several channels: x from 2, from 1 and from 3 on, listed
# in the order in which they are painted, the widest first.
regions = (4 * np.ones((3, 1, 1, 1, 1)), [-8, -4, -12], [("Sigmoid", {})])
save("regions", *regions, intensity="none", labels='[{"value":2,"name":"whole"},{"value":1,"name":"core"},'
     '{"value":3,"name":"enhancing"}]')
save("regions_plain", *regions, intensity="none")
