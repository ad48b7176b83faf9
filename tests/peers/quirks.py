"""Tiny hand-made models, one per quirk that exporters and optimisers leave in ONNX files.

Each function decorated with @run or @refuse builds one fixture; make_fixtures.py writes them and
their golden outputs. Graphs are a few nodes on grids of a few voxels.
"""

import zlib
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.reference
from onnx import TensorProto, helper, numpy_helper

FIXTURES = []


@dataclass
class Fixture:
    name: str
    build: callable
    runs: bool
    expect: str  # part of the refusal, or of the topology line
    options: str
    golden: callable = None  # instead of ONNX Runtime's answer
    files: dict = field(default_factory=dict)  # further files beside the model


def run(options="--topology any", expect="any", golden=None, files=None):
    return _register(True, expect, options, golden, files)


def refuse(message, options="--topology any", files=None):
    return _register(False, message, options, None, files)


def _register(runs, expect, options, golden, files):
    def keep(build):
        FIXTURES.append(Fixture(build.__name__.replace("_", "-"), build, runs, expect, options, golden, files or {}))
        return build
    return keep


class Graph:
    """Collects nodes; every method returns the name of a tensor."""

    def __init__(self, name, opset=13):
        self.name, self.opset = name, opset
        self.nodes, self.initializers, self.inputs, self.outputs = [], [], [], []
        self.random = np.random.default_rng(zlib.crc32(name.encode()))

    def input(self, *shape, name="scan", kind=TensorProto.FLOAT):
        self.inputs.append(helper.make_tensor_value_info(name, kind, list(shape)))
        return name

    def values(self, *shape):
        fan_in = max(1, int(np.prod(shape[1:])))
        return (self.random.standard_normal(shape) / np.sqrt(fan_in)).astype(np.float32)

    def constant(self, array, name):
        self.initializers.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def weight(self, *shape, name="weight"):
        return self.constant(self.values(*shape), name)

    def node(self, op, *inputs, outputs=None, name=None, domain="", **attributes):
        name = name or f"{op.lower()}{len(self.nodes)}"
        outputs = outputs or [f"{name}_out"]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=name, domain=domain, **attributes))
        return outputs[0]

    def conv(self, x, cin, cout, k=3, bias=True, name="conv", **attributes):
        """A convolution that keeps the grid, with its weights, unless attributes say otherwise."""
        inputs = [x, self.weight(cout, cin // attributes.get("group", 1), k, k, k, name=f"{name}.weight")]
        if bias:
            inputs.append(self.constant(self.values(cout) * 0.1, f"{name}.bias"))
        if "auto_pad" not in attributes:
            attributes.setdefault("pads", [k // 2] * 6)
        return self.node("Conv", *inputs, name=name, kernel_shape=[k, k, k], **attributes)

    def deconv(self, x, cin, cout, k=2, name="up", **attributes):
        inputs = [x, self.constant(self.values(cout, cin // attributes.get("group", 1), k, k, k).reshape(
            cin, cout // attributes.get("group", 1), k, k, k), f"{name}.weight")]
        inputs.append(self.constant(self.values(cout) * 0.1, f"{name}.bias"))
        return self.node("ConvTranspose", *inputs, name=name, kernel_shape=[k, k, k], **attributes)

    def norm(self, x, channels, name="norm", outputs=None, **attributes):
        statistics = {"scale": 1 + 0.2 * self.values(channels), "shift": 0.2 * self.values(channels),
                      "mean": 0.2 * self.values(channels), "var": 1 + np.abs(self.values(channels))}
        inputs = [self.constant(v.astype(np.float32), f"{name}.{k}") for k, v in statistics.items()]
        return self.node("BatchNormalization", x, *inputs, name=name, outputs=outputs, **attributes)

    def output(self, name, kind=TensorProto.FLOAT, shape=None):
        self.outputs.append(helper.make_tensor_value_info(name, kind, shape))

    def model(self, *outputs, ir=8, **more):
        for name in outputs:
            self.output(name)
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, self.initializers)
        opsets = [helper.make_opsetid("", self.opset)] + more.pop("opsets", [])
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir, producer_name="fixture", **more)


# ---- activations ----


def _prelu_of_channels(model, x):
    """PRelu of opset 6: a slope of rank 1 is one per channel."""
    slope = numpy_helper.to_array(model.graph.initializer[0]).reshape(1, -1, 1, 1, 1)
    return [np.where(x < 0, x * slope, x).astype(np.float32)]


def _prelu(opset, shape, slope_shape, name):
    g = Graph(name, opset)
    slope = g.constant(np.linspace(-0.2, 0.5, int(np.prod(slope_shape)), dtype=np.float32).reshape(slope_shape), "slope")
    return g.model(g.node("PRelu", g.input(*shape), slope), ir=4)


@run(golden=_prelu_of_channels)
def prelu_rank1_opset6():
    return _prelu(6, (1, 3, 2, 4, 3), (3,), "prelu_rank1_opset6")


@run()
def prelu_rank1_last_axis():
    return _prelu(9, (1, 3, 2, 4, 5), (5,), "prelu_rank1_last_axis")


@run()
def prelu_rank1_cube():
    """As many columns as channels: still the last axis."""
    return _prelu(13, (1, 3, 3, 3, 3), (3,), "prelu_rank1_cube")


@run()
def prelu_one():
    return _prelu(16, (1, 3, 2, 4, 5), (1,), "prelu_one")


@run()
def prelu_channels_rank4():
    return _prelu(13, (1, 3, 2, 4, 5), (3, 1, 1, 1), "prelu_channels_rank4")


@run()
def prelu_channels_rank5():
    return _prelu(13, (2, 3, 2, 4, 5), (1, 3, 1, 1, 1), "prelu_channels_rank5")


@run()
def activations():
    g = Graph("activations", 16)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 3, k=1)
    x = g.node("LeakyRelu", x, alpha=0.1)
    x = g.node("Elu", g.conv(x, 3, 4, k=1, name="second"), alpha=0.7)
    x = g.node("Relu", g.conv(x, 4, 3, k=1, name="third"))
    return g.model(g.node("Sigmoid", x))


@run()
def softmax_axis1_opset13():
    g = Graph("softmax_axis1_opset13", 13)
    return g.model(g.node("Softmax", g.input(2, 3, 2, 3, 4), axis=1))


@run()
def softmax_default_opset13():
    g = Graph("softmax_default_opset13", 13)
    return g.model(g.node("Softmax", g.input(1, 3, 2, 3, 4)))


@run()
def softmax_default_opset11():
    """Before opset 13: axis 1, and everything from it on is one axis."""
    g = Graph("softmax_default_opset11", 11)
    return g.model(g.node("Softmax", g.input(2, 3, 2, 2, 2)))


@run()
def softmax_transposed_opset11():
    g = Graph("softmax_transposed_opset11", 11)
    x = g.node("Transpose", g.input(1, 3, 2, 3, 4), perm=[0, 4, 2, 3, 1])
    x = g.node("Softmax", x, axis=4)
    return g.model(g.node("Transpose", x, perm=[0, 4, 2, 3, 1]))


@run()
def logsoftmax_flat_tail():
    """vnet.pytorch's tail on a grid that is known."""
    g = Graph("logsoftmax_flat_tail", 17)
    x = g.node("Transpose", g.conv(g.input(1, 1, 3, 4, 5), 1, 2, k=3), perm=[0, 2, 3, 4, 1])
    x = g.node("Reshape", x, g.constant(np.array([-1, 2]), "shape"))
    return g.model(g.node("LogSoftmax", x, axis=1))


# ---- convolution ----


@run()
def conv_bias_as_add():
    g = Graph("conv_bias_as_add", 17)
    x = g.conv(g.input(1, 2, 4, 5, 6), 2, 3, bias=False)
    x = g.node("Add", x, g.weight(1, 3, 1, 1, 1, name="bias"))
    x = g.conv(x, 3, 2, bias=False, name="second")
    return g.model(g.node("Add", g.weight(2, 1, 1, 1, name="bias_rank4"), x))


@run()
def conv_asymmetric_pads():
    g = Graph("conv_asymmetric_pads", 11)
    x = g.conv(g.input(1, 2, 4, 5, 6), 2, 3, k=3, pads=[0, 1, 2, 2, 0, 1])
    return g.model(g.conv(x, 3, 2, k=3, pads=[1, 0, 0, 0, 0, 1], strides=[2, 1, 2], name="second"))


@run()
def conv_same_upper():
    g = Graph("conv_same_upper", 11)
    return g.model(g.conv(g.input(1, 2, 4, 5, 6), 2, 3, k=2, auto_pad="SAME_UPPER"))


@run()
def conv_same_lower():
    g = Graph("conv_same_lower", 11)
    return g.model(g.conv(g.input(1, 2, 4, 5, 6), 2, 3, k=2, auto_pad="SAME_LOWER"))


@run()
def conv_same_upper_strided():
    g = Graph("conv_same_upper_strided", 11)
    return g.model(g.conv(g.input(1, 2, 4, 5, 7), 2, 3, k=3, auto_pad="SAME_UPPER", strides=[2, 2, 3]))


@run()
def conv_valid():
    g = Graph("conv_valid", 11)
    return g.model(g.conv(g.input(1, 2, 5, 5, 6), 2, 3, k=3, auto_pad="VALID"))


@run()
def conv_dilated():
    g = Graph("conv_dilated", 17)
    return g.model(g.conv(g.input(1, 2, 6, 7, 8), 2, 3, k=3, dilations=[2, 1, 3], pads=[2, 1, 3, 2, 1, 3]))


@run()
def conv_grouped():
    g = Graph("conv_grouped", 17)
    x = g.conv(g.input(1, 4, 4, 5, 6), 4, 6, k=3, group=2)
    return g.model(g.conv(x, 6, 6, k=3, group=6, name="depthwise"))


@run()
def conv_attributes_missing():
    """kernel_shape, pads, strides, dilations and group are all optional."""
    g = Graph("conv_attributes_missing", 9)
    x = g.node("Conv", g.input(2, 2, 4, 5, 6), g.weight(3, 2, 1, 3, 2), name="conv")
    return g.model(x, ir=3)


@run()
def deconv_output_padding():
    g = Graph("deconv_output_padding", 17)
    return g.model(g.deconv(g.input(1, 3, 2, 3, 4), 3, 2, k=3, strides=[2, 2, 2], pads=[1] * 6,
                            output_padding=[1, 0, 1]))


@run()
def deconv_output_shape():
    g = Graph("deconv_output_shape", 17)
    return g.model(g.deconv(g.input(1, 3, 2, 3, 4), 3, 2, k=3, strides=[2, 2, 2], output_shape=[4, 6, 8]))


@run()
def deconv_same_upper():
    g = Graph("deconv_same_upper", 17)
    return g.model(g.deconv(g.input(1, 3, 2, 3, 4), 3, 2, k=3, strides=[2, 2, 2], auto_pad="SAME_UPPER"))


@run()
def deconv_same_lower():
    g = Graph("deconv_same_lower", 17)
    return g.model(g.deconv(g.input(1, 3, 2, 3, 4), 3, 2, k=3, strides=[2, 2, 2], auto_pad="SAME_LOWER"))


@run()
def deconv_grouped_dilated():
    g = Graph("deconv_grouped_dilated", 17)
    return g.model(g.deconv(g.input(1, 4, 2, 3, 4), 4, 6, k=2, group=2, strides=[1, 2, 3], dilations=[2, 1, 2],
                            pads=[1, 0, 0, 0, 1, 1]))


# ---- normalisation, sums, shape arithmetic ----


@run()
def norm_after_deconv():
    g = Graph("norm_after_deconv", 17)
    x = g.norm(g.deconv(g.input(1, 4, 2, 3, 4), 4, 2, strides=[2, 2, 2]), 2, epsilon=1e-3)
    return g.model(g.node("Elu", x))


@run()
def norm_after_conv():
    g = Graph("norm_after_conv", 9)
    return g.model(g.norm(g.conv(g.input(1, 2, 3, 4, 5), 2, 3, bias=False), 3), ir=4)


@run()
def norm_alone():
    """After a sum there is no convolution to fold it into."""
    g = Graph("norm_alone", 15)
    scan = g.input(1, 2, 3, 4, 5)
    x = g.node("Add", g.conv(scan, 2, 2), scan)
    return g.model(g.norm(x, 2))


@run()
def norm_of_instance():
    g = Graph("norm_of_instance", 17)
    scale, shift = g.weight(3, name="scale"), g.weight(3, name="shift")
    return g.model(g.node("InstanceNormalization", g.input(2, 3, 3, 4, 5), scale, shift, epsilon=1e-4))


@run()
def sum_for_add():
    g = Graph("sum_for_add", 13)
    scan = g.input(1, 2, 3, 4, 5)
    x = g.node("Sum", g.conv(scan, 2, 2), scan)
    return g.model(g.node("Sum", x, g.conv(x, 2, 2, name="second"), scan))


@run()
def add_broadcast():
    """One channel to many, on either side, and a plane to all."""
    g = Graph("add_broadcast", 13)
    scan = g.input(1, 1, 3, 4, 5)
    x = g.node("Add", scan, g.conv(scan, 1, 4))
    x = g.node("Add", g.conv(x, 4, 4, name="second"), scan)
    return g.model(g.node("Add", x, g.weight(4, 5, name="plane")))


@run()
def dropout_identity():
    g = Graph("dropout_identity", 13)
    x = g.node("Identity", g.conv(g.input(1, 2, 3, 4, 5), 2, 3))
    x = g.node("Dropout", x, g.constant(np.float32(0.5), "ratio"), outputs=["kept", "mask"], name="drop")
    return g.model(g.node("Relu", x))


@run()
def dropout_opset9():
    g = Graph("dropout_opset9", 9)
    return g.model(g.node("Relu", g.node("Dropout", g.conv(g.input(1, 2, 3, 4, 5), 2, 3), ratio=0.5)), ir=4)


@run()
def repeat_as_tile():
    """x.repeat with a computed shape, as the classic exporter leaves it."""
    g = Graph("repeat_as_tile", 17)
    scan = g.input(1, 2, 3, 4, 5)
    ones = g.node("ConstantOfShape", g.constant(np.array([5]), "rank"),
                  value=numpy_helper.from_array(np.array([1]), "one"))
    x = g.node("Tile", g.node("Expand", scan, ones), g.constant(np.array([1, 3, 1, 1, 1]), "repeats"))
    return g.model(g.node("Add", g.conv(scan, 2, 6), x))


@run()
def expand_computed():
    """x.expand(-1, 4, -1, -1, -1): the wanted shape is put together at run time."""
    g = Graph("expand_computed", 17)
    scan = g.input(1, 1, 3, 4, 5)
    wanted = g.constant(np.array([-1, 4, -1, -1, -1]), "wanted")
    ones = g.node("ConstantOfShape", g.node("Shape", wanted), value=numpy_helper.from_array(np.array([1]), "one"))
    free = g.node("Mul", ones, g.constant(np.array(-1), "minus"))
    shape = g.node("Where", g.node("Equal", wanted, free), ones, wanted)
    return g.model(g.node("Add", g.conv(scan, 1, 4), g.node("Expand", scan, shape)))


@run()
def shape_arithmetic():
    """A view to [voxels, classes] whose shape is gathered, multiplied and concatenated."""
    g = Graph("shape_arithmetic", 13)
    x = g.node("Transpose", g.conv(g.input(1, 1, 3, 4, 5), 1, 2), perm=[0, 2, 3, 4, 1])
    shape = g.node("Shape", x)
    grid = g.node("Slice", shape, g.constant(np.array([0]), "start"), g.constant(np.array([4]), "end"),
                  g.constant(np.array([0]), "axes"))
    voxels = g.node("ReduceProd", grid, axes=[0], keepdims=1)
    last = g.node("Gather", shape, g.constant(np.array(4), "four"), axis=0)
    classes = g.node("Unsqueeze", last, g.constant(np.array([0]), "front"))
    shape = g.node("Concat", voxels, classes, axis=0)
    return g.model(g.node("Softmax", g.node("Reshape", x, shape), axis=1))


@run()
def shape_arithmetic_opset9():
    """The same with opset 9's attributes, and a division through floats."""
    g = Graph("shape_arithmetic_opset9", 9)
    x = g.node("Transpose", g.conv(g.input(1, 1, 3, 4, 5), 1, 2), perm=[0, 2, 3, 4, 1])
    count = g.node("ReduceProd", g.node("Shape", x), keepdims=0)
    half = g.node("Cast", g.node("Div", count, g.constant(np.array(2), "two")), to=TensorProto.INT64)
    rows = g.node("Unsqueeze", half, axes=[0])
    shape = g.node("Concat", rows, g.constant(np.array([2]), "classes"), axis=0)
    return g.model(g.node("LogSoftmax", g.node("Reshape", x, shape), axis=1), ir=4)


@run()
def concat_shared():
    """One tensor in two concats, one of them twice, and one that is also an output's parent."""
    g = Graph("concat_shared", 13)
    scan = g.input(1, 2, 3, 4, 5)
    a = g.conv(scan, 2, 2)
    x = g.node("Concat", a, scan, a, axis=1)
    y = g.node("Concat", g.conv(x, 6, 2, name="second"), a, axis=-4)
    return g.model(g.node("Add", y, g.conv(y, 4, 4, name="third")))


@run()
def concat_depth():
    g = Graph("concat_depth", 13)
    scan = g.input(1, 2, 3, 4, 5)
    return g.model(g.node("Concat", scan, g.conv(scan, 2, 2), axis=2))


# ---- how weights are stored ----


@run()
def initializers_as_inputs():
    g = Graph("initializers_as_inputs", 9)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 3)
    for tensor in g.initializers:
        g.inputs.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return g.model(x, ir=3)


@run()
def weights_in_constant_nodes():
    g = Graph("weights_in_constant_nodes", 13)
    w = g.node("Constant", value=numpy_helper.from_array(g.values(3, 2, 3, 3, 3)))
    b = g.node("Constant", value_floats=[0.1, -0.2, 0.3])
    x = g.node("Conv", g.input(1, 2, 3, 4, 5), w, b, pads=[1] * 6, name="conv")
    return g.model(g.node("PRelu", x, g.node("Identity", g.node("Constant", value_floats=[0.3]))))


@run()
def weights_typed_fields():
    g = Graph("weights_typed_fields", 13)
    w = g.values(2, 2, 1, 1, 1)
    g.initializers.append(helper.make_tensor("weight", TensorProto.FLOAT, w.shape, w.ravel().tolist()))
    g.initializers.append(helper.make_tensor("shape", TensorProto.INT64, [2], [2, -1]))
    x = g.node("Conv", g.input(1, 2, 3, 4, 5), "weight")
    return g.model(g.node("Reshape", x, "shape"))


@run()
def weights_float16():
    """Stored as float16, raw and in int32_data, computed in float32."""
    g = Graph("weights_float16", 17)
    w = g.node("Cast", g.constant(g.values(3, 2, 3, 3, 3).astype(np.float16), "weight"), to=TensorProto.FLOAT)
    g.initializers.append(helper.make_tensor("bias", TensorProto.FLOAT16, [3], [0.1, -6e-6, 3.0]))
    b = g.node("Cast", "bias", to=TensorProto.FLOAT)
    return g.model(g.node("Conv", g.input(1, 2, 3, 4, 5), w, b, pads=[1] * 6))


@run()
def weights_bfloat16():
    g = Graph("weights_bfloat16", 17)
    bits = (g.values(3, 2, 3, 3, 3).view(np.uint32) >> 16).astype(np.uint16)
    g.initializers.append(helper.make_tensor("weight", TensorProto.BFLOAT16, bits.shape, bits.tobytes(), raw=True))
    w = g.node("Cast", "weight", to=TensorProto.FLOAT)
    return g.model(g.node("Conv", g.input(1, 2, 3, 4, 5), w, pads=[1] * 6))


def _external(name, location, offset=0, length=648):
    g = Graph(name, 13)
    x = g.node("Conv", g.input(1, 2, 3, 4, 5), g.weight(3, 2, 3, 3, 3), pads=[1] * 6, name="conv")
    model = g.model(x)
    data = model.graph.initializer[0].raw_data
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], location, offset, length)
    model.graph.initializer[0].ClearField("raw_data")
    return model, data


def _external_bytes():
    return b"\0" * 64 + _external("external_inside", "")[1]


@run(files={"external.bin": _external_bytes})
def external_inside():
    return _external("external_inside", "external.bin", 64)[0]


@refuse("external", options="--topology any")
def external_parent():
    return _external("external_parent", "../manifest.txt")[0]


@refuse("external", options="--topology any")
def external_parent_hidden():
    return _external("external_parent_hidden", "./a/../../manifest.txt")[0]


@refuse("external", options="--topology any")
def external_absolute():
    return _external("external_absolute", "/etc/passwd")[0]


@refuse("external", options="--topology any",
        files={"external-link.bin": "../manifest.txt"})
def external_link():
    """A link inside the folder that leads out of it."""
    return _external("external_link", "external-link.bin")[0]


@refuse("external", options="--topology any")
def external_too_short():
    return _external("external_too_short", "external.bin", 128)[0]


@refuse("external", options="--topology any")
def external_absent():
    return _external("external_absent", "absent.bin")[0]


@refuse("external", options="--topology any")
def external_offset_overflow():
    return _external("external_offset_overflow", "external.bin", 2**63 - 1)[0]


# ---- outputs ----


@run()
def argmax_labels():
    g = Graph("argmax_labels", 13)
    g.output(g.node("ArgMax", g.conv(g.input(1, 1, 3, 4, 5), 1, 4), axis=1, keepdims=0), TensorProto.INT64)
    return g.model()


@run()
def argmax_last_of_equals():
    g = Graph("argmax_last_of_equals", 13)
    x = g.node("Relu", g.conv(g.input(1, 1, 3, 4, 5), 1, 4))
    g.output(g.node("ArgMax", x, axis=1, keepdims=1, select_last_index=1), TensorProto.INT64)
    return g.model()


@run()
def outputs_several():
    g = Graph("outputs_several", 13)
    x = g.conv(g.input(1, 1, 3, 4, 5), 1, 3)
    scores = g.node("Softmax", x, axis=1)
    g.output(scores)
    g.output(g.node("ArgMax", x, axis=1, keepdims=0), TensorProto.INT64)
    g.output(x)
    return g.model()


# ---- what U-Nets have beside V-Nets ----


def _group_norm(g, x, channels, groups, shape):
    """As exporters write it that have no operator for it."""
    x = g.node("Reshape", x, g.constant(np.array([0, groups, -1]), "split"))
    ones, zeros = np.ones(groups, np.float32), np.zeros(groups, np.float32)
    x = g.node("InstanceNormalization", x, g.constant(ones, "ones"), g.constant(zeros, "zeros"), epsilon=1e-5)
    x = g.node("Reshape", x, g.constant(np.array(shape), "shape"))
    x = g.node("Mul", x, g.constant(1 + g.values(channels, 1, 1, 1), "scale"))
    return g.node("Add", x, g.constant(g.values(channels, 1, 1, 1), "shift"))


@run()
def groupnorm_opset17():
    g = Graph("groupnorm_opset17", 17)
    x = _group_norm(g, g.conv(g.input(2, 2, 3, 4, 5), 2, 6), 6, 3, [2, 6, 3, 4, 5])
    return g.model(g.node("LeakyRelu", x, alpha=0.1))


@run()
def groupnorm_of_one():
    g = Graph("groupnorm_of_one", 17)
    return g.model(_group_norm(g, g.conv(g.input(2, 2, 3, 4, 5), 2, 6), 6, 1, [2, 6, 3, 4, 5]))


@run()
def groupnorm_opset21():
    g = Graph("groupnorm_opset21", 21)
    x = g.conv(g.input(2, 2, 3, 4, 5), 2, 6)
    return g.model(g.node("GroupNormalization", x, g.weight(6, name="scale"), g.weight(6, name="shift"), num_groups=2))


@run()
def norm_with_residual():
    """A residual block's end: what follows the norm goes into it."""
    g = Graph("norm_with_residual", 17)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 3)
    y = g.node("InstanceNormalization", g.conv(x, 3, 3, name="second"), g.weight(3, name="scale"), g.weight(3, name="shift"))
    return g.model(g.node("Relu", g.node("Add", y, x)))


@run()
def attention_gate():
    g = Graph("attention_gate", 17)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 3)
    return g.model(g.node("Mul", x, g.node("Sigmoid", g.conv(x, 3, 1, k=1, name="gate"))))


@run()
def squeeze_excitation():
    g = Graph("squeeze_excitation", 17)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 4)
    y = g.node("Reshape", g.node("GlobalAveragePool", x), g.constant(np.array([1, 4]), "flat"))
    y = g.node("Relu", g.node("Gemm", y, g.weight(2, 4, name="fc1"), g.weight(2, name="b1"), transB=1))
    y = g.node("Sigmoid", g.node("MatMul", y, g.weight(2, 4, name="fc2")))
    y = g.node("Reshape", y, g.constant(np.array([1, 4, 1, 1, 1]), "wide"))
    return g.model(g.node("Max", g.node("Mul", x, y), g.node("ReduceMax", x, axes=[1], keepdims=1)))


@run()
def pools():
    g = Graph("pools", 19)
    x = g.conv(g.input(1, 2, 6, 7, 8), 2, 3)
    a = g.node("MaxPool", x, kernel_shape=[3, 2, 2], strides=[2, 2, 2], pads=[1, 0, 0, 1, 0, 0], ceil_mode=1)
    b = g.node("AveragePool", x, kernel_shape=[3, 3, 3], strides=[2, 2, 2], pads=[1] * 6, count_include_pad=1)
    c = g.node("AveragePool", x, kernel_shape=[3, 3, 3], strides=[2, 2, 2], pads=[1] * 6)
    return g.model(a, b, c)


@run()
def pads():
    g = Graph("pads", 17)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 3)
    ends = g.constant(np.array([0, 0, 1, 0, 2, 0, 0, 2, 1, 0]), "ends")
    outs = [g.node("Pad", x, ends, mode=mode) for mode in ("reflect", "edge")]
    cut = g.constant(np.array([0, 1, -1, 0, 2, 0, 2, 0, 1, -1]), "cut")
    return g.model(*outs, g.node("Pad", x, cut, g.constant(np.float32(0.5), "fill")))


@run()
def resizes():
    """Both rules of coordinates that frameworks write, and TensorFlow's."""
    g = Graph("resizes", 13)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 2)
    scales = g.constant(np.array([1, 1, 2, 2, 2], np.float32), "scales")
    sizes = g.constant(np.array([1, 2, 5, 3, 7]), "sizes")
    return g.model(
        g.node("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel"),
        g.node("Resize", x, "", "", sizes, mode="linear", coordinate_transformation_mode="align_corners"),
        g.node("Resize", x, "", "", sizes, mode="nearest", coordinate_transformation_mode="asymmetric",
               nearest_mode="floor"))


@run()
def upsample_opset9():
    g = Graph("upsample_opset9", 9)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 2)
    return g.model(g.node("Upsample", x, g.constant(np.array([1, 1, 2, 1, 3], np.float32), "scales")), ir=4)


@run()
def functions():
    g = Graph("functions", 20)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 2)
    outs = [g.node(op, x) for op in ("Gelu", "Selu", "Celu", "Mish", "Softplus")]
    outs.append(g.node("Gelu", x, approximate="tanh"))
    outs.append(g.node("Mul", x, g.node("Sigmoid", x)))
    return g.model(*outs, g.node("Clip", x, g.constant(np.float32(-0.5), "low"), g.constant(np.float32(0.25), "high")))


@run()
def functions_as_arithmetic():
    """As exporters write them; and twice what looks like a function of x, but is one of two values."""
    g = Graph("functions_as_arithmetic", 17)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 2)
    other = g.node("Neg", x)
    number = {name: g.constant(np.float32(n), name) for name, n in (("half", 0.5), ("one", 1), ("root", 2 ** 0.5))}
    bell = g.node("Add", g.node("Erf", g.node("Div", x, number["root"])), number["one"])
    soft = g.node("Tanh", g.node("Softplus", x))
    return g.model(
        g.node("Mul", g.node("Mul", x, bell), number["half"]), g.node("Mul", bell, g.node("Mul", x, number["half"])),
        g.node("Mul", soft, x), g.node("Mul", x, g.node("Sigmoid", x)),
        g.node("Mul", g.node("Mul", other, bell), number["half"]), g.node("Mul", other, soft))


@run(options="--topology any --patch 4x6x8")
def around_vnet():
    """What the networks around V-Net have: norms, dilation, strides, 3x3x3 up, GELU as arithmetic."""
    g = Graph("around_vnet", 17)
    up = {"strides": [2] * 3, "pads": [1] * 6, "output_padding": [1] * 3}
    x = g.conv(g.input("n", 1, "d", "h", "w"), 1, 8, name="first")
    scale, shift = g.constant(1 + 0.2 * g.values(8), "scale"), g.constant(0.2 * g.values(8), "shift")
    x = g.node("Relu", g.node("InstanceNormalization", x, scale, shift))
    x = g.conv(x, 8, 8, name="dilated", dilations=[2] * 3, pads=[2] * 6)
    half = g.node("Conv", x, "dilated.weight", kernel_shape=[3] * 3, strides=[2] * 3, pads=[1] * 6)
    bell = g.node("Erf", g.node("Div", half, g.constant(np.float32(2 ** 0.5), "root")))
    bell = g.node("Add", bell, g.constant(np.float32(1), "one"))
    half = g.node("Mul", g.node("Mul", half, bell), g.constant(np.float32(0.5), "half"))
    x = g.node("Add", g.deconv(half, 8, 8, 3, name="each", group=8, **up), x)
    return g.model(g.deconv(x, 8, 3, 3, name="few", **up))


@run()
def z_score_in_graph():
    g = Graph("z_score_in_graph", 17)
    x = g.input(1, 2, 3, 4, 5)
    away = g.node("Sub", x, g.node("ReduceMean", x, axes=[2, 3, 4]))
    power = g.node("Pow", away, g.constant(np.float32(2), "two"))
    root = g.node("Sqrt", g.node("ReduceMean", power, axes=[2, 3, 4]))
    return g.model(g.conv(g.node("Div", away, root), 2, 2))


@run()
def thresholds():
    g = Graph("thresholds", 16)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 3)
    half = g.constant(np.float32(0.1), "half")
    above = g.node("Greater", x, half)
    kept = g.node("Where", above, x, g.constant(np.float32(-1), "less"))
    return g.model(g.node("Cast", above, to=TensorProto.FLOAT), kept)


@run()
def choices():
    g = Graph("choices", 13)
    x = g.conv(g.input(1, 2, 3, 4, 6), 2, 4)
    a = g.node("Split", x, g.constant(np.array([1, 3]), "sizes"), axis=1, outputs=["first", "second"])
    c = g.node("Gather", "second", g.constant(np.array([2, 0]), "which"), axis=1)
    ends = [g.constant(np.array(v), n) for v, n in (([-1], "from"), ([-9], "to"), ([4], "along"), ([-2], "by"))]
    return g.model(g.node("Slice", c, *ends), a, g.node("Gather", x, g.constant(np.array(1), "one"), axis=2))


@run()
def pixel_shuffle():
    g = Graph("pixel_shuffle", 17)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 16)
    x = g.node("Reshape", x, g.constant(np.array([1, 2, 2, 2, 2, 3, 4, 5]), "split"))
    x = g.node("Transpose", x, perm=[0, 1, 5, 2, 6, 3, 7, 4])
    return g.model(g.node("Reshape", x, g.constant(np.array([1, 2, 6, 8, 10]), "shape")))


@run()
def lines_times_fields():
    """What Keras' PReLU is made of, without becoming one: products with fields, and with zeros."""
    g = Graph("lines_times_fields", 17)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 3)
    above, below = g.node("Relu", x), g.node("Neg", g.node("Relu", g.node("Neg", x)))
    field = g.weight(1, 3, 3, 4, 5, name="field")
    some = g.constant(np.float32([0.5, 0, -2]).reshape(1, 3, 1, 1, 1), "some")
    both = g.node("Add", g.node("Mul", above, some), g.node("Mul", below, field))
    return g.model(g.node("Mul", above, field), g.node("Mul", below, field), both, g.node("Mul", above, some))


@run()
def lines_through_others():
    """What norms, pools and shuffles make of an activation is no activation of the same any more."""
    g = Graph("lines_through_others", 17)
    x = g.conv(g.input(1, 2, 2, 3, 4), 2, 8)
    above, below = g.node("Relu", x), g.node("Neg", x)
    normed = g.node("InstanceNormalization", above, g.weight(8, name="by"), g.weight(8, name="and"))
    pooled = g.node("AveragePool", above, kernel_shape=[3, 3, 3], pads=[1] * 6)
    shuffled = g.node("Reshape", below, g.constant(np.array([1, 1, 2, 2, 2, 2, 3, 4]), "parts"))
    shuffled = g.node("Transpose", shuffled, perm=[0, 1, 5, 2, 6, 3, 7, 4])
    shuffled = g.node("Reshape", shuffled, g.constant(np.array([1, 1, 4, 6, 8]), "whole"))
    grouped = _group_norm(g, below, 8, 4, [1, 8, 2, 3, 4])
    return g.model(g.node("Add", normed, above), g.node("Sub", pooled, above), g.node("Relu", shuffled),
                   g.node("Add", grouped, below))


@refuse("PixelShuffle")
def reshape_splits_channels():
    g = Graph("reshape_splits_channels", 17)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 6)
    return g.model(g.node("Relu", g.node("Reshape", x, g.constant(np.array([1, 2, 3, 3, 4, 5]), "split"))))


# ---- what is refused ----


@run()
def norm_training_opset9():
    """Before opset 14 the outputs tell: five of them."""
    g = Graph("norm_training_opset9", 9)
    x = g.norm(g.conv(g.input(1, 2, 3, 4, 5), 2, 3), 3, outputs=["y", "mean", "var", "saved_mean", "saved_var"])
    return g.model(x, ir=4)


def _norm_training(name, batch):
    g = Graph(name, 15)
    x = g.norm(g.conv(g.input(batch, 2, 3, 4, 5), 2, 3), 3, outputs=["y", "mean", "var"], training_mode=1)
    return g.model(x)


@run()
def norm_training_opset15():
    """By the statistics of the batch, which is one scan."""
    return _norm_training("norm_training_opset15", 1)


@refuse("batch of 1")
def norm_training_batch():
    return _norm_training("norm_training_batch", 2)


def _norm_written_out(name, opset, moved):
    """track_running_stats=False: mean and variance are computed in the graph, and go into an ordinary norm."""
    g = Graph(name, opset)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 3)
    axes, v = [0, 2, 3, 4], x
    if moved:
        axes, v = [0, 1], g.node("Transpose", g.node("Reshape", x, g.constant(np.array([1, 3, -1]), "flat")), perm=[0, 2, 1])

    def mean(t, keep):
        if opset < 18:
            return g.node("ReduceMean", t, axes=axes, keepdims=keep)
        return g.node("ReduceMean", t, "axes", keepdims=keep)

    if opset >= 18:
        g.constant(np.array(axes), "axes")
    centred = g.node("Sub", v, mean(v, 1))
    square = g.node("Mul", centred, centred) if moved else g.node("Pow", centred, g.constant(np.float32(2), "two"))
    scale, shift = g.constant(1 + 0.2 * g.values(3), "scale"), g.constant(0.2 * g.values(3), "shift")
    return g.model(g.node("BatchNormalization", x, scale, shift, mean(v, 0), mean(square, 0), name="norm"), ir=8)


@run()
def norm_statistics_opset11():
    return _norm_written_out("norm_statistics_opset11", 11, True)


@run()
def norm_statistics_opset18():
    return _norm_written_out("norm_statistics_opset18", 18, False)


@refuse("training")
def dropout_training():
    g = Graph("dropout_training", 13)
    x = g.node("Dropout", g.conv(g.input(1, 2, 3, 4, 5), 2, 3), g.constant(np.float32(0.5), "ratio"),
               g.constant(np.array(True), "training"), name="drop")
    return g.model(x)


@refuse("com.microsoft")
def optimised_by_ort():
    """ONNX Runtime saved its own optimised form; make_fixtures.py runs the optimiser."""
    g = Graph("optimised_by_ort", 13)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 3)
    return g.model(g.node("Relu", x))


@refuse("FusedConv")
def fused_conv():
    g = Graph("fused_conv", 13)
    x = g.node("FusedConv", g.input(1, 2, 3, 4, 5), g.weight(3, 2, 3, 3, 3), name="fused", domain="com.microsoft",
               activation="Relu", pads=[1] * 6)
    return g.model(x, opsets=[helper.make_opsetid("com.microsoft", 1)])


@refuse("sparse")
def sparse_initializer():
    g = Graph("sparse_initializer", 13)
    x = g.node("Conv", g.input(1, 2, 3, 4, 5), "weight", pads=[1] * 6)
    model = g.model(x)
    values = helper.make_tensor("weight", TensorProto.FLOAT, [2], [1.0, 2.0])
    indices = helper.make_tensor("weight_indices", TensorProto.INT64, [2], [13, 40])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [3, 2, 3, 3, 3]))
    return model


@refuse("If")
def subgraph_if():
    g = Graph("subgraph_if", 13)
    scan = g.input(1, 2, 3, 4, 5)

    def branch(op):
        node = helper.make_node(op, [scan], [f"{op}_out"])
        out = helper.make_tensor_value_info(f"{op}_out", TensorProto.FLOAT, None)
        return helper.make_graph([node], op, [], [out])

    condition = g.constant(np.array(True), "condition")
    return g.model(g.node("If", condition, name="branch", then_branch=branch("Relu"), else_branch=branch("Sigmoid")))


@refuse("Loop")
def subgraph_loop():
    g = Graph("subgraph_loop", 13)
    scan = g.input(1, 2, 3, 4, 5)
    body = helper.make_graph(
        [helper.make_node("Relu", ["v"], ["v_out"]), helper.make_node("Identity", ["c"], ["c_out"])], "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []),
         helper.make_tensor_value_info("c", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("c_out", TensorProto.BOOL, []),
         helper.make_tensor_value_info("v_out", TensorProto.FLOAT, None)])
    trips = g.constant(np.array(3), "trips")
    return g.model(g.node("Loop", trips, g.constant(np.array(True), "go"), scan, name="loop", body=body))


def _with_function(name, used):
    g = Graph(name, 17)
    x = g.input(1, 2, 3, 4, 5)
    x = g.node("Block", x, domain="local", name="block") if used else g.conv(x, 2, 3)
    block = helper.make_function("local", "Block", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])],
                                 [helper.make_opsetid("", 17)])
    return g.model(x, opsets=[helper.make_opsetid("local", 1)], functions=[block])


@refuse("inline_local_functions")
def function_local():
    return _with_function("function_local", True)


@run()
def function_unused():
    return _with_function("function_unused", False)


@refuse("quantised; export it in float32")
def quantised_qdq():
    g = Graph("quantised_qdq", 13)
    scale, zero = g.constant(np.float32(0.1), "scale"), g.constant(np.uint8(128), "zero")
    x = g.node("DequantizeLinear", g.node("QuantizeLinear", g.input(1, 2, 3, 4, 5), scale, zero), scale, zero)
    return g.model(g.conv(x, 2, 3))


@refuse("quantised; export it in float32")
def quantised_weights():
    """Weights alone in 8 bits."""
    g = Graph("quantised_weights", 13)
    w = g.constant((g.values(3, 2, 3, 3, 3) * 100).astype(np.int8), "weight")
    w = g.node("DequantizeLinear", w, g.constant(np.float32(0.01), "scale"), g.constant(np.int8(0), "zero"))
    return g.model(g.node("Conv", g.input(1, 2, 3, 4, 5), w, pads=[1] * 6))


@refuse("quantised; export it in float32")
def quantised_conv():
    g = Graph("quantised_conv", 13)
    w = g.constant((g.values(3, 2, 3, 3, 3) * 100).astype(np.int8), "weight")
    x = g.node("ConvInteger", g.input(1, 2, 3, 4, 5, kind=TensorProto.UINT8), w, pads=[1] * 6)
    return g.model(g.node("Cast", x, to=TensorProto.FLOAT))


@refuse("weight")
def weights_missing():
    """export_params=False, or an initializer lost on the way."""
    g = Graph("weights_missing", 13)
    return g.model(g.node("Conv", g.input(1, 2, 3, 4, 5), "conv.weight", name="conv", pads=[1] * 6))


@refuse("weight")
def weights_are_inputs():
    g = Graph("weights_are_inputs", 13)
    scan = g.input(1, 2, 3, 4, 5)
    return g.model(g.node("Conv", scan, g.input(3, 2, 3, 3, 3, name="conv.weight"), name="conv", pads=[1] * 6))


@refuse("--patch")
def axes_unknown():
    g = Graph("axes_unknown", 13)
    return g.model(g.conv(g.input("batch", 1, "depth", "height", "width"), 1, 2))


@refuse("NonZero")
def op_unknown():
    g = Graph("op_unknown", 13)
    g.output(g.node("NonZero", g.input(1, 1, 3, 4, 5), name="where"), TensorProto.INT64)
    return g.model()


@refuse("opset")
def opset_unknown():
    g = Graph("opset_unknown", 99)
    return g.model(g.conv(g.input(1, 2, 3, 4, 5), 2, 3))


@refuse("concat")
def grid_odd():
    """Down by two and up again on an odd grid: the halves of the concat differ."""
    g = Graph("grid_odd", 13)
    scan = g.input(1, 2, 5, 4, 6)
    x = g.deconv(g.conv(scan, 2, 4, k=2, pads=[0] * 6, strides=[2, 2, 2]), 4, 2, strides=[2, 2, 2])
    return g.model(g.node("Concat", x, scan, axis=1, name="concat"))


@refuse("conv")
def weights_misshaped():
    g = Graph("weights_misshaped", 13)
    return g.model(g.conv(g.input(1, 3, 3, 4, 5), 2, 3))


@refuse("weight")
def weights_truncated():
    """The initializer's bytes are fewer than its dimensions promise."""
    model = weights_misshaped()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 2
    model.graph.initializer[0].raw_data = model.graph.initializer[0].raw_data[:-4]
    return model


@refuse("weight")
def weights_huge():
    """Dimensions whose product overflows 64 bits."""
    model = weights_misshaped()
    model.graph.initializer[0].dims[:] = [2**40, 2**40, 3, 3, 3]
    return model


@refuse("relu")
def graph_cyclic():
    g = Graph("graph_cyclic", 13)
    g.input(1, 2, 3, 4, 5)
    x = g.node("Add", "scan", "relu_out", name="add")
    return g.model(g.node("Relu", x, name="relu", outputs=["relu_out"]))


@refuse("twice")
def graph_name_twice():
    g = Graph("graph_name_twice", 13)
    scan = g.input(1, 2, 3, 4, 5)
    g.node("Relu", scan, outputs=["twice"])
    return g.model(g.node("Sigmoid", scan, outputs=["twice"]))


# ---- what the scan is made of ----


def _scan_of(name, kind, *between):
    """A scan of another type, cast as its network wants it; `between` come before the cast."""
    g = Graph(name, 17)
    x = g.input(1, 2, 3, 4, 5, kind=kind)
    for op, more, attributes in between:
        x = g.node(op, x, *[g.constant(np.array(m), f"{op}{i}") for i, m in enumerate(more)], **attributes)
    return g.model(g.conv(g.node("Cast", x, to=TensorProto.FLOAT), 2, 3))


@run()
def scan_of_doubles():
    g = Graph("scan_of_doubles", 13)
    x = g.node("Mul", g.input(1, 2, 3, 4, 5, kind=TensorProto.DOUBLE), g.constant(np.float64(0.5), "half"))
    g.output(g.node("Relu", x), TensorProto.DOUBLE)
    return g.model()


@run()
def scan_of_halfs():
    return _scan_of("scan_of_halfs", TensorProto.FLOAT16)


@run()
def scan_of_shorts():
    return _scan_of("scan_of_shorts", TensorProto.INT16)


@run()
def scan_of_bytes():
    """Moved while they are bytes."""
    return _scan_of("scan_of_bytes", TensorProto.UINT8, ("Transpose", [], {"perm": [0, 1, 4, 3, 2]}),
                    ("Slice", [[0], [3], [3]], {}), ("Identity", [], {}))


@run()
def scan_of_bytes_padded():
    """Grown by a value that is none of theirs, then cut."""
    return _scan_of("scan_of_bytes_padded", TensorProto.UINT8,
                    ("Pad", [np.int64([0, 0, 1, 0, 2, 0, 0, 0, 3, -1]), np.uint8(7)], {}))


@run()
def scan_of_ints_padded():
    """Mirrored at some borders, repeated at others."""
    g = Graph("scan_of_ints_padded", 17)
    x = g.input(1, 2, 3, 4, 5, kind=TensorProto.INT32)
    for mode, pads in (("reflect", [0, 0, 1, 2, 0, 0, 0, 0, 1, 3]), ("edge", [0, 0, 2, 0, 0, 0, 0, 1, 0, 1])):
        x = g.node("Pad", x, g.constant(np.int64(pads), mode), mode=mode)
    return g.model(g.conv(g.node("Cast", x, to=TensorProto.FLOAT), 2, 3))


@run()
def scan_of_longs_picked():
    """Channels in another order, some planes twice, and an axis that a single index takes away."""
    g = Graph("scan_of_longs_picked", 17)
    x = g.input(1, 3, 4, 4, 5, kind=TensorProto.INT64)
    for i, (index, axis) in enumerate((([2, 0], 1), ([3, -4, 1, 1, -1], 2), (0, 0))):
        x = g.node("Gather", x, g.constant(np.int64(index), f"index{i}"), axis=axis)
    x = g.node("Unsqueeze", x, g.constant(np.int64([0]), "axes"))
    x = g.node("Pad", x, g.constant(np.int64([0, 0, 0, 1, 1, 0, 0, 0, 1, 1]), "pads"), g.constant(np.int64(-5), "five"))
    return g.model(g.conv(g.node("Cast", x, to=TensorProto.FLOAT), 2, 3))


@refuse("arithmetic on the integers")
def scan_of_ints_summed():
    """What is padded and picked is integers still."""
    return _scan_of("scan_of_ints_summed", TensorProto.INT32, ("Pad", [np.int64([0, 0, 1, 0, 0, 0, 0, 0, 0, 0])], {}),
                    ("Gather", [np.int64([1, 0])], {"axis": 1}), ("Add", [np.int32(2)], {}))


@refuse("integers alone")
def scan_of_bytes_alone():
    g = Graph("scan_of_bytes_alone", 17)
    g.output(g.node("Identity", g.input(1, 2, 3, 4, 5, kind=TensorProto.UINT8)), TensorProto.UINT8)
    return g.model()


@refuse("integers of 'scan'")
def scan_of_bytes_halved():
    """A division of integers is no division of floats."""
    return _scan_of("scan_of_bytes_halved", TensorProto.UINT8, ("Div", [np.uint8(2)], {}))


@refuse("complex64")
def scan_of_complex():
    g = Graph("scan_of_complex", 13)
    g.output(g.node("Identity", g.input(1, 2, 3, 4, 5, kind=TensorProto.COMPLEX64)), TensorProto.COMPLEX64)
    return g.model()


# ---- order, and what nothing needs ----


@run()
def nodes_unsorted():
    g = Graph("nodes_unsorted", 17)
    x = g.conv(g.input(1, 2, 3, 4, 5), 2, 3)
    y = g.node("Add", g.node("Relu", x), g.node("Sigmoid", x))
    g.nodes.reverse()
    return g.model(y)


def _without_the_dead(model, scan):
    """ONNX's reference, for ONNX Runtime wants to know every node."""
    live = onnx.ModelProto()
    live.CopyFrom(model)
    del live.graph.node[:]
    live.graph.node.extend(n for n in model.graph.node if n.op_type == "Conv")
    return onnx.reference.ReferenceEvaluator(live).run(None, {"scan": scan})


@run(golden=_without_the_dead)
def nodes_dead():
    """Of operators that nobody knows, and of another engine's."""
    g = Graph("nodes_dead", 17)
    x = g.input(1, 2, 3, 4, 5)
    g.node("Mystery", g.node("NonZero", x), domain="com.example")
    g.node("Relu", "nothing")
    y = g.conv(x, 2, 3)
    return g.model(y, opsets=[helper.make_opsetid("com.example", 1)])


def _newest(opset):
    g = Graph(f"opset{opset}", opset)
    x = g.node("PRelu", g.conv(g.input(1, 2, 4, 4, 6), 2, 3), g.constant(np.float32([[[[0.2]]], [[[-0.1]]], [[[0.5]]]]), "slope"))
    down = g.norm(g.conv(x, 3, 4, k=2, name="down", pads=[0] * 6, strides=[2, 2, 2]), 4)
    up = g.deconv(g.node("Elu", down), 4, 3, strides=[2, 2, 2])
    y = g.node("Add", g.node("Concat", up, x, axis=1), g.node("Tile", x, g.constant(np.array([1, 2, 1, 1, 1]), "repeats")))
    return g.model(g.node("Softmax", y, axis=1), ir=10)


@run()
def opset22():
    return _newest(22)


@run()
def opset24():
    return _newest(24)


@run()
def opset26():
    return _newest(26)


@run()
def softmax_unit_rank6():
    """Over a dimension of one element when every axis has more."""
    g = Graph("softmax_unit_rank6", 13)
    x = g.node("Unsqueeze", g.input(2, 3, 4, 5, 5), g.constant(np.array([4]), "axes"))
    g.output(g.node("Softmax", x, axis=-2))
    g.output(g.node("LogSoftmax", x, axis=4))
    return g.model()


# ---- PReLU as arithmetic ----


def _written_out(name, slopes, write, channels_last=False):
    g = Graph(name, 13)
    x = g.conv(g.input(1, 1, 2, 3, 4), 1, 3)
    if channels_last:
        x = g.node("Transpose", x, perm=[0, 2, 3, 4, 1])
    y = write(g, x, g.constant(np.float32(slopes), "slopes"))
    if channels_last:
        y = g.node("Transpose", y, perm=[0, 4, 1, 2, 3])
    return g.model(g.conv(y, 3, 2, name="second"))


_SLOPES = np.linspace(-0.2, 0.5, 3).reshape(1, 3, 1, 1, 1)


def _keras(g, x, minus_slopes):
    return g.node("Add", g.node("Relu", x), g.node("Mul", g.node("Relu", g.node("Neg", x)), minus_slopes))


@run()
def prelu_keras():
    return _written_out("prelu_keras", _SLOPES, _keras)


@run()
def prelu_keras_one():
    return _written_out("prelu_keras_one", [0.3], _keras)


@run()
def prelu_keras_voxels():
    """Without shared axes there is a slope for each voxel."""
    return _written_out("prelu_keras_voxels", np.linspace(-0.4, 0.4, 72).reshape(2, 3, 4, 3), lambda g, x, s: g.node(
        "Add", g.node("Relu", x), g.node("Mul", s, g.node("Relu", g.node("Neg", x)))), channels_last=True)


@run()
def prelu_keras_voxels_apart():
    """tf2onnx leaves Transposes around the product alone."""
    def write(g, x, s):
        below = g.node("Transpose", g.node("Relu", g.node("Neg", x)), perm=[0, 2, 3, 4, 1])
        return g.node("Add", g.node("Transpose", g.node("Mul", below, s), perm=[0, 4, 1, 2, 3]), g.node("Relu", x))
    return _written_out("prelu_keras_voxels_apart", np.linspace(-0.4, 0.4, 72).reshape(2, 3, 4, 3), write)


@run()
def prelu_with_abs():
    def write(g, x, s):
        below = g.node("Mul", s, g.node("Sub", x, g.node("Abs", x)))
        return g.node("Add", g.node("Relu", x), g.node("Mul", below, g.constant(np.float32(0.5), "half")))
    return _written_out("prelu_with_abs", _SLOPES, write)


@run()
def prelu_with_max():
    def write(g, x, s):
        zero = g.constant(np.float32(0), "zero")
        return g.node("Add", g.node("Max", x, zero), g.node("Mul", s, g.node("Min", zero, x)))
    return _written_out("prelu_with_max", _SLOPES, write)


@run()
def prelu_subtracted():
    """And used half-way as well."""
    def write(g, x, s):
        below = g.node("Relu", g.node("Neg", x))
        y = g.node("Sub", g.node("Relu", x), g.node("Mul", below, s))
        return g.node("Add", y, g.node("Sigmoid", below))
    return _written_out("prelu_subtracted", _SLOPES, write)


@run()
def leaky_as_max():
    return _written_out("leaky_as_max", [0.1], lambda g, x, s: g.node("Max", x, g.node("Mul", x, s)))


# ---- TensorFlow's order of axes ----


def _channels_last(name, shape, to_first):
    g = Graph(name, 13)
    x = to_first(g, g.input(*shape))
    x = g.node("Relu", g.conv(x, shape[-1], 3))
    g.output(g.node("Transpose", x, perm=[0, 2, 3, 4, 1]))
    return g.model()


def _transposed(g, x):
    return g.node("Transpose", x, perm=[0, 4, 1, 2, 3])


@run()
def ndhwc_fixed():
    return _channels_last("ndhwc_fixed", (1, 3, 4, 5, 2), _transposed)


@run("--topology any --patch 3x4x5")
def ndhwc_dynamic():
    return _channels_last("ndhwc_dynamic", ("n", "d", "h", "w", 2), _transposed)


@run("--topology any --batch 2 --patch 3x4x5")
def ndhwc_batch():
    return _channels_last("ndhwc_batch", ("n", "d", "h", "w", 2), _transposed)


@run()
def ndhwc_scaled():
    """Pre-processing stands before the Transpose."""
    def scaled(g, x):
        x = g.node("Sub", x, g.constant(np.float32([0.1, 0.2]), "mean"))
        return _transposed(g, g.node("Div", x, g.constant(np.float32(1.5), "deviation")))
    return _channels_last("ndhwc_scaled", (1, 3, 4, 5, 2), scaled)


@run()
def ndhwc_reshaped():
    """Of one channel, tf2onnx writes the Transpose as a Reshape."""
    return _channels_last("ndhwc_reshaped", (1, 3, 4, 5, 1), lambda g, x: g.node(
        "Reshape", x, g.constant(np.array([1, 1, 3, 4, 5]), "shape")))
