"""A model as Keras' and TensorFlow's exporters would have written it: n d h w c at the door, PReLU as arithmetic."""

import numpy as np
import onnx
from onnx import helper, numpy_helper


def _last(shape):
    dims = list(shape.dim)
    copies = [onnx.TensorShapeProto.Dimension() for _ in dims]
    for copy, dim in zip(copies, [dims[i] for i in (0, 2, 3, 4, 1)]):
        copy.CopyFrom(dim)
    del shape.dim[:]
    shape.dim.extend(copies)


def _prelu(node, slopes):
    """y = relu(x) - slopes * relu(-x), with the slopes' sign in the weight."""
    x, y, name = node.input[0], node.output[0], node.name
    slopes[f"{name}.minus"] = -slopes[node.input[1]]
    steps = [("Relu", [x], f"{name}.above"), ("Neg", [x], f"{name}.neg"), ("Relu", [f"{name}.neg"], f"{name}.below"),
             ("Mul", [f"{name}.below", f"{name}.minus"], f"{name}.scaled"),
             ("Add", [f"{name}.above", f"{name}.scaled"], y)]
    return [helper.make_node(op, inputs, [out], name=f"{name}.{op}{i}") for i, (op, inputs, out) in enumerate(steps)]


def rewritten(model):
    graph = model.graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer if not t.external_data}
    before, nodes, slopes = set(values), [], dict(values)
    scan, scores = graph.input[0], graph.output[0]
    inside, outside = f"{scan.name}.first", scores.name
    nodes.append(helper.make_node("Transpose", [scan.name], [inside], name="to_first", perm=[0, 4, 1, 2, 3]))
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = inside if name == scan.name else name
        for i, name in enumerate(node.output):
            node.output[i] = f"{outside}.first" if name == outside else name
        nodes += _prelu(node, slopes) if node.op_type == "PRelu" else [node]
    nodes.append(helper.make_node("Transpose", [f"{outside}.first"], [outside], name="to_last", perm=[0, 2, 3, 4, 1]))
    made = [numpy_helper.from_array(np.asarray(slopes[n]), n) for n in slopes if n not in before]
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]  # the graph lets go of its own
    del graph.node[:]
    graph.node.extend(copies)
    graph.initializer.extend(made)
    del graph.value_info[:]
    _last(scan.type.tensor_type.shape)
    _last(scores.type.tensor_type.shape)
    return model
