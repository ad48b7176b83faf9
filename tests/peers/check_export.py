"""What vnet-model writes, judged by others: onnx.checker, ONNX Runtime, and PyTorch's own networks.

    python check_export.py VNET_MODEL

For every member the exported file passes the checker with full shape inference, and ONNX Runtime's
output on it is that of the PyTorch network of the same name holding the same weights.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

import networks

PATCH = (16, 32, 16)
CASES = [(member, {"width": 4, "stages": 4, "classes": 3}) for member in networks.MEMBERS] + [
    ("vnet", {"width": 8, "stages": 2, "classes": 2, "in_channels": 2, "slopes": "channel", "tail": "softmax"}),
    ("vnet-2016", {"width": 4, "stages": 3, "slopes": "layer", "tail": "none"}),
    ("monai", {"width": 4, "stages": 3, "in_channels": 4, "act": "prelu"}),
    ("mattmacy", {"width": 4, "stages": 5, "classes": 2, "tail": "log_softmax"}),
]


def write(program, member, options, path, *more):
    words = [program, "--member", member, "--patch", "x".join(map(str, PATCH)), "-o", path, *more]
    for key, value in options.items():
        words += ["--" + key.replace("_", "-"), str(value).replace("_", "")]
    subprocess.run([str(word) for word in words], check=True)


def fill(net, model):
    """Hooks that give each module, as it runs for the first time, the weights of the file's next node of its kind."""
    weights = {t.name: torch.from_numpy(onnx.numpy_helper.to_array(t).copy()) for t in model.graph.initializer}
    kinds = {nn.Conv3d: "Conv", nn.ConvTranspose3d: "ConvTranspose", nn.PReLU: "PRelu", nn.BatchNorm3d: "BatchNormalization"}
    queues = {kind: [node for node in model.graph.node if node.op_type == kind] for kind in kinds.values()}

    def take(module, _):
        node = queues[kinds[type(module)]].pop(0)
        tensors = [weights[name] for name in node.input[1:]]
        targets = [module.weight]
        if getattr(module, "bias", None) is not None:
            targets.append(module.bias)
        if isinstance(module, nn.BatchNorm3d):
            targets += [module.running_mean, module.running_var]
            module.eps = next(a.f for a in node.attribute if a.name == "epsilon")
        assert len(tensors) == len(targets), f"{node.name}: {len(tensors)} weights for {module}"
        for tensor, target in zip(tensors, targets):
            target.copy_(tensor.reshape(target.shape))

    for module in net.modules():
        if type(module) in kinds:
            module.register_forward_pre_hook(take)
    return queues


def run(path, x):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@torch.no_grad()
def check(program, member, options, folder):
    path = folder / "model.onnx"
    write(program, member, options, path, "--spacing", "1 1 1")
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    meta = {entry.key: entry.value for entry in model.metadata_props}
    assert meta == {"vnet.spacing_mm": "1 1 1", "vnet.patch": "%d %d %d" % PATCH}, meta

    tail = {"mattmacy": "log_softmax"}.get(member) if "tail" not in options else options["tail"]
    net, o = networks.build(member, networks.Options(**(options | {"tail": tail})))
    queues = fill(net, model)
    x = networks.scan((1, o.in_channels, *PATCH))
    expected = net(x).numpy()
    assert not any(queues.values()), "the file holds more than the network"
    got = run(path, x.numpy())
    assert got.shape == expected.shape, (got.shape, expected.shape)
    worst = np.abs(got - expected).max() / np.ptp(expected)

    write(program, member, options, path, "--float16")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    half = np.abs(run(path, x.numpy()) - expected).max() / np.ptp(expected)
    print(f"{member:12} {o.width:3} {o.stages}  std {expected.std():6.3f}  differs {worst:.1e}, with float16 weights {half:.1e}")
    assert worst < 1e-5 and 1e-7 < half < 3e-2
    return member


def main():
    program = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        for member, options in CASES:
            check(program, member, options, pathlib.Path(folder))


if __name__ == "__main__":
    main()
