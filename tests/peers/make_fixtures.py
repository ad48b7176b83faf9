"""Writes tests/fixtures: models, golden inputs and outputs, manifest; the same bytes every time.

    python make_fixtures.py [NAME ...]      NAME: only those, and no manifest

Two kinds: tiny hand-made graphs (quirks.py), and members of the family as PyTorch's exporters write
them, whose large weights point into the generated pool weights.bin (see ../fixtures/README.md).
"""

import contextlib
import io
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx.external_data_helper import set_external_data

import export
import keras_habits
import networks
import quirks
from networks import Options

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
sys.path.append(str(FIXTURES))

import pool  # noqa: E402  the fixtures' own module


@dataclass
class Export:
    """A member of the family through one of PyTorch's exporters."""

    name: str
    member: str
    options: Options
    exporter: str = "classic"
    opset: int | None = None
    size: tuple = (32, 32, 32)
    dynamic: tuple = ()
    fresh: bool = False
    metadata: dict = field(default_factory=dict)
    vnetc: str = ""
    expect: str = ""  # default: the topology line
    runs: bool = True
    keep_notes: bool = False  # the exporter's notes on every node
    departures: dict = field(default_factory=dict)


def small(**more):
    return Options(**({"width": 4, "classes": 2} | more))


SHALLOW = {"width": 4, "stages": 3}
BRAIN = {
    "vnet.orientation": "RAS", "vnet.spacing_mm": "1 1 1", "vnet.patch": "32 32 32", "vnet.intensity": "zscore",
    "vnet.labels": '[{"value": 0, "name": "background"}, {"value": 1, "name": "brain", "color": "#e0a080"}]',
}
EXPORTS = [
    # Every member, width 4, by both exporters.
    Export("vnet-classic", "vnet", small()),
    Export("vnet-dynamo", "vnet", small(), "dynamo"),
    Export("vnet-2016-classic", "vnet-2016", small()),
    Export("vnet-2016-dynamo", "vnet-2016", small(), "dynamo"),
    Export("vnet-caffe-classic", "vnet-caffe", small()),
    Export("vnet-caffe-dynamo", "vnet-caffe", small(), "dynamo"),
    Export("monai-elu-classic", "monai", small()),
    Export("monai-elu-dynamo", "monai", small(), "dynamo"),
    Export("monai-prelu-classic", "monai", small(act="prelu")),
    Export("monai-prelu-dynamo", "monai", small(act="prelu"), "dynamo"),
    Export("mattmacy-classic", "mattmacy", small()),
    Export("mattmacy-dynamo", "mattmacy", small(), "dynamo"),
    # Variants of the family.
    Export("vnet-fresh", "vnet", small(**SHALLOW), size=(16, 16, 16), fresh=True),
    Export("vnet-two-channels", "vnet", small(in_channels=2, **SHALLOW), size=(16, 16, 16)),
    Export("vnet-width-8", "vnet", small(width=8, stages=2), size=(16, 16, 16)),
    Export("monai-fresh", "monai", small(**SHALLOW), size=(16, 16, 16), fresh=True),
    Export("monai-two-channels", "monai", small(in_channels=2, classes=3, **SHALLOW), size=(16, 16, 16)),
    Export("monai-one-slope", "monai", small(act="prelu", slopes="layer", **SHALLOW), size=(16, 16, 16)),
    Export("mattmacy-softmax", "mattmacy", small(act="prelu", tail="flat_softmax", classes=3, **SHALLOW),
           opset=12, size=(16, 16, 16)),
    Export("mattmacy-logits", "mattmacy", small(tail="none", input_sum="repeat", in_channels=2, **SHALLOW),
           size=(16, 16, 16), expect="width=4 stages=3 in=2 classes=2 left=1,1,2 right=1,1"),
    # Opsets, dynamic axes, metadata.
    Export("vnet-opset9", "vnet", small(tail="softmax", **SHALLOW), opset=9, size=(16, 16, 16)),
    Export("vnet-opset12", "vnet", small(tail="softmax", **SHALLOW), opset=12, size=(16, 16, 16)),
    Export("vnet-opset21", "vnet", small(tail="log_softmax", **SHALLOW), opset=21, size=(16, 16, 16)),
    Export("vnet-dynamo-opset21", "vnet", small(tail="softmax", **SHALLOW), "dynamo", opset=21, size=(16, 16, 16),
           keep_notes=True),
    Export("vnet-dynamic", "vnet", small(input_sum="expand", **SHALLOW), size=(16, 16, 16),
           dynamic=("batch", "space"), vnetc="--patch 16x16x16"),
    Export("vnet-dynamo-dynamic", "vnet", small(input_sum="expand", **SHALLOW), "dynamo", size=(16, 16, 16),
           dynamic=("batch", "space"), vnetc="--patch 16x16x16"),
    Export("vnet-2016-metadata", "vnet-2016", small(**SHALLOW), size=(32, 32, 32), dynamic=("batch", "space"),
           metadata=BRAIN),
    Export("monai-dynamic", "monai", small(**SHALLOW), size=(8, 16, 12), dynamic=("batch", "space"),
           vnetc="--patch 8x16x12"),
    Export("monai-dynamo-dynamic", "monai", small(**SHALLOW), "dynamo", size=(8, 16, 12),
           dynamic=("batch", "space"), vnetc="--patch 8x16x12"),
    Export("mattmacy-dynamic", "mattmacy", small(**SHALLOW), size=(16, 16, 16), dynamic=("batch", "space"),
           vnetc="--patch 16x16x16"),
    Export("mattmacy-dynamo-dynamic", "mattmacy", small(**SHALLOW), "dynamo", size=(16, 16, 16),
           dynamic=("batch", "space"), vnetc="--patch 16x16x16"),
    Export("mattmacy-batch-stats", "mattmacy", small(batch_stats=True, stages=2), size=(16, 16, 16),
           expect="mattmacy width=4 stages=2 in=1 classes=2 left=1,1 right=1 act=elu norm=instance"),
    # Refused.
    Export("vnet-departs", "vnet", small(**SHALLOW), size=(16, 16, 16), runs=False, expect="right 2",
           departures={"right": (3, 3, 2, 3)}),
]


def topology_line(e, o):
    """What vnetc says of it."""
    member = networks.MEMBERS[e.member]
    left = ",".join(str(n) for n in member.left[: o.stages])
    right = ",".join(str(n) for n in member.right[len(member.right) - o.stages + 1 :])
    return (f"{e.member} width={o.width} stages={o.stages} in={o.in_channels} classes={o.classes} "
            f"left={left} right={right} act={o.act}")


def point_into_pool(model):
    """Replaces convolution weights by slices of the pool of about the same spread."""
    tensors = {t.name: t for t in model.graph.initializer}
    # An Identity on a shared initializer stands for it.
    for node in model.graph.node:
        if node.op_type == "Identity" and node.input[0] in tensors:
            tensors[node.output[0]] = tensors[node.input[0]]
    done = set()
    for node in model.graph.node:
        if node.op_type not in ("Conv", "ConvTranspose"):
            continue
        tensor = tensors[node.input[1]]
        count = int(np.prod(tensor.dims))
        if count < 256 or tensor.name in done:
            continue
        spread = onnx.numpy_helper.to_array(tensor).std() * 3**0.5
        region = int(np.clip(np.round(-np.log2(spread)), 0, pool.REGIONS - 1))
        first = len(done) * 7919 * 16 % (pool.REGION_ELEMS - count + 1) // 16 * 16 + region * pool.REGION_ELEMS
        set_external_data(tensor, pool.FILE, 4 * first, 4 * count)
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        done.add(tensor.name)


def strip_notes(model, keep):
    """Drops what the dynamo exporter notes on each node; stack traces, with the paths in them, always."""
    for holder in [model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output]:
        notes = [p for p in holder.metadata_props if keep and "stack_trace" not in p.key]
        del holder.metadata_props[:]
        holder.metadata_props.extend(notes)


def ort_run(path, feed):
    """ONNX Runtime's answer, without its own graph rewriting."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: feed})


def golden_save(name, scan, outputs):
    """NAME.in.npy is a link to a scan that models share; NAME.out.npy, .out1.npy … are the outputs, thinned."""
    golden = FIXTURES / "golden"
    kind = "" if scan.dtype == np.float32 else f"{scan.dtype}-"
    shared = golden / (f"scan-{kind}" + "x".join(str(n) for n in scan.shape) + ".npy")
    np.save(shared, scan)
    link = golden / f"{name}.in.npy"
    link.unlink(missing_ok=True)
    link.symlink_to(shared.name)
    for i, output in enumerate(outputs):
        file = golden / f"{name}.out{i or ''}.npy"
        file.unlink(missing_ok=True)
        np.save(file, np.ascontiguousarray(pool.thin(output)))
        # Both exporters' models of one network give one answer.
        same = golden / file.name.replace("-dynamo", "-classic")
        if same != file and same.exists() and same.read_bytes() == file.read_bytes():
            file.unlink()
            file.symlink_to(same.name)


def small_scan(shape):
    """A scan whose values need few digits."""
    return np.round(networks.scan(shape).numpy() * 256) / 256


def scan_for(f, kind):
    """A scan of the type that the model takes; open sizes are those of its options."""
    asked = re.search(r"--patch (\d+)x(\d+)x(\d+)", f.options)
    batch = re.search(r"--batch (\d+)", f.options)
    open_sizes = [int(batch[1]) if batch else 1] + [int(n) for n in asked.groups()] if asked else []
    shape = [d.dim_value or open_sizes.pop(0) for d in kind.shape.dim]
    scan, dtype = small_scan(shape), onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
    return (np.abs(np.round(scan * 50)) if dtype.kind in "iu" else scan).astype(dtype)


def make_export(e, folder):
    """One member: graph by the exporter, weights from the pool, golden from ONNX Runtime."""
    torch.manual_seed(0)
    net, o = networks.build(e.member, e.options, **e.departures)
    shape = (1, o.in_channels, *e.size)
    if not e.fresh:
        networks.calibrate(net, shape)
    path = f"{folder}/{e.name}.onnx"
    with contextlib.redirect_stdout(io.StringIO()):
        export.export(net, networks.scan(shape), path, e.exporter, e.opset, e.dynamic, e.metadata)
    model = onnx.load(path)
    model.graph.name = e.name
    point_into_pool(model)
    strip_notes(model, e.keep_notes)
    onnx.save(model, path)
    if e.runs or e.departures:
        scan = small_scan(shape).astype(np.float32)
        output = ort_run(path, scan)[0]
        print(f"{e.name:24} out {list(output.shape)} rms {output.std():.3f} range {np.ptp(output):.3f}")
        golden_save(e.name, scan, [output])
    shutil.copyfile(path, FIXTURES / "models" / f"{e.name}.onnx")
    expect = e.expect or topology_line(e, o)
    return f"{e.name} | {'run' if e.runs else 'refuse'} | {e.vnetc} | {expect}"


def make_keras(name, like):
    """An export again, as Keras' exporters would have written it; the same weights from the pool."""
    model = keras_habits.rewritten(onnx.load(FIXTURES / "models" / f"{like}.onnx", load_external_data=False))
    model.graph.name = name
    onnx.save(model, FIXTURES / "models" / f"{name}.onnx")
    with tempfile.TemporaryDirectory() as folder:
        pool.write(folder)
        onnx.save(model, f"{folder}/{name}.onnx")
        scan = small_scan((1, 16, 16, 16, 1)).astype(np.float32)
        golden_save(name, scan, [ort_run(f"{folder}/{name}.onnx", scan)[0]])
    e = next(e for e in EXPORTS if e.name == like)
    return f"{name} | run | --patch 16x16x16 | {topology_line(e, networks.build(e.member, e.options)[1])}"


def make_quirk(f):
    """One tiny graph, further files it points to, golden from ONNX Runtime."""
    model = f.build()
    path = FIXTURES / "models" / f"{f.name}.onnx"
    onnx.save(model, path)
    for name, content in f.files.items():
        file = path.parent / name
        file.unlink(missing_ok=True)
        if callable(content):
            file.write_bytes(content())
        else:
            file.symlink_to(content)
    if f.name == "optimised-by-ort":
        optimise(path)
    if f.runs:
        scan = scan_for(f, model.graph.input[0].type.tensor_type)
        outputs = f.golden(model, scan) if f.golden else ort_run(str(path), scan)
        for value, output in zip(model.graph.output, outputs):
            del value.type.tensor_type.shape.dim[:]
            value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, output.shape))
        onnx.save(model, path)
        golden_save(f.name, scan, outputs)
    return f"{f.name} | {'run' if f.runs else 'refuse'} | {f.options} | {f.expect}"


def optimise(path):
    """Replaces a model by what ONNX Runtime's optimiser makes of it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


KERAS = {"vnet-2016-keras": "vnet-2016-metadata"}
# Further lines for models that are there already.
MORE_LINES = [
    "vnet-departs | run | --topology any | any",
    "vnet-classic | refuse | --topology monai | monai",
    "vnet-classic | run | --topology vnet | vnet width=4 stages=5 in=1 classes=2",
    "vnet-dynamic | refuse | | --patch",
    "conv-grouped | refuse | | --topology any",
]
MANIFEST_HEAD = """\
# Made by tests/peers/make_fixtures.py; see README.md.
# model | run or refuse | options of vnetc | run: part of the topology line; refuse: part of the message
"""


def main():
    only = sys.argv[1:]
    torch.set_num_threads(1)
    for folder in ("models", "golden"):
        if not only:
            shutil.rmtree(FIXTURES / folder, ignore_errors=True)
        (FIXTURES / folder).mkdir(exist_ok=True)
    lines = [make_quirk(f) for f in quirks.FIXTURES if not only or f.name in only]
    with tempfile.TemporaryDirectory() as folder:
        pool.write(folder)
        lines += [make_export(e, folder) for e in EXPORTS if not only or e.name in only]
    lines += [make_keras(name, like) for name, like in KERAS.items() if not only or name in only]
    if not only:
        (FIXTURES / "manifest.txt").write_text(MANIFEST_HEAD + "\n".join(lines + MORE_LINES) + "\n")


if __name__ == "__main__":
    main()
