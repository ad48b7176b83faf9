"""Goldens of tests/unit/test_train.c: losses, gradients and optimiser steps by PyTorch, in float64.

    python train_golden.py --build ../../build        (needs torch, onnx; rewrites tests/golden/train)

Weights are those of vnet-model, so that the C test has them without a file. A golden is one vector:
losses before the first and after each of ten steps of SGD and of AdamW; for every parameter the norm
of its first gradient and every STRIDE-th element; every STRIDE-th weight after SGD and after AdamW.
"""

import argparse
import pathlib
import re
import subprocess
import tempfile

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper

import networks

SIZE, BATCH, STAGES, STRIDE = 16, 2, 3, 61
folder = pathlib.Path(__file__).parent.parent / "golden" / "train"


def batch():
    d, h, w = np.meshgrid(*(np.arange(SIZE),) * 3, indexing="ij")
    x = np.stack([np.sin(d * 0.9 + h * 0.35) + np.cos(w * 0.7 - h * 0.2) + 0.1 * n for n in range(BATCH)])
    g = np.stack([(d - 7 - n) ** 2 + (h - 6) ** 2 + (w - 9) ** 2 < 30 for n in range(BATCH)])
    return torch.from_numpy(x[:, None].astype(np.float32).astype(np.float64)), torch.from_numpy(g.astype(np.int64))


def module_of(net, layer):
    """The Unit, or activation after a sum, that a layer of models/vnet.c is."""
    if found := re.fullmatch(r"(left|right)(\d)\.conv(\d)", layer):
        return getattr(net, found[1])[int(found[2]) - 1][int(found[3]) - 1]
    if found := re.fullmatch(r"(left|right)(\d)\.sum", layer):
        return net.after[int(found[2]) - 1 + (STAGES if found[1] == "right" else 0)]
    if found := re.fullmatch(r"down(\d)|right(\d)\.up", layer):
        return net.down[int(found[1]) - 1] if found[1] else net.up[int(found[2]) - 1]
    return net.head[0] if layer == "head" else net.head[-1]


def parameter_of(net, name):
    """And what of it is this constant; None for BatchNorm's statistics."""
    layer, _, part = name.rpartition(".")
    if part not in ("w", "b", "a", "scale", "shift"):
        return None
    module = module_of(net, layer)
    if part == "a":
        return getattr(module, "act", module).weight
    if part in ("scale", "shift"):
        return module.norm.weight if part == "scale" else module.norm.bias
    return module.conv.weight if part == "w" else module.conv.bias


def loss_of(member, scores, g):
    """loss.h's: DICE for vnet, MULTI_DICE with half the cross-entropy for vnet-caffe, SIGMOID_DICE."""
    hot = torch.stack([g == 0, g == 1], 1).double()
    p, axes, smooth = torch.softmax(scores, 1), (1, 2, 3), 0
    if member == "mattmacy":
        p, smooth = torch.sigmoid(scores[:, 1] - scores[:, 0])[:, None].expand(-1, 2, -1, -1, -1), 1
    elif member == "vnet-caffe":
        smooth = 1e-5
    top = 2 * (p[:, 1] * hot[:, 1]).sum(axes) + smooth
    dice = 1 - top / ((p[:, 1] ** 2).sum(axes) + hot[:, 1].sum(axes) + smooth)
    return dice.mean() + (0.5 * F.cross_entropy(scores, g) if member == "vnet-caffe" else 0)


def flat(name, tensor):
    """In the order of the graph's constants: [out][taps][in]."""
    if tensor.dim() == 5:
        tensor = tensor.permute((1, 2, 3, 4, 0) if name.endswith(".up.w") else (0, 2, 3, 4, 1))
    return tensor.detach().double().reshape(-1)


def golden(member, model):
    x, g = batch()
    out = []
    for optimiser in ("sgd", "adamw"):
        options = networks.Options(width=4, stages=STAGES, classes=2, tail="none")
        net = networks.build(member, options)[0].double().train()
        named = []
        for tensor in onnx.load(model).graph.initializer:
            p = parameter_of(net, tensor.name)
            if p is None:
                continue
            p.data = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float64)).reshape(p.shape)
            named.append((tensor.name, p))
        assert len(named) == len(list(net.parameters()))
        if optimiser == "sgd":
            step = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        else:
            step = torch.optim.AdamW(net.parameters(), lr=0.0001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
        for turn in range(11):
            step.zero_grad()
            loss = loss_of(member, net(x), g)
            loss.backward()
            out.append([loss.item()])
            if turn == 0 and optimiser == "sgd":
                gradients = [v for name, p in named
                             for v in ([flat(name, p.grad).norm().item()], flat(name, p.grad)[::STRIDE].numpy())]
            if turn < 10:
                step.step()
        gradients += [flat(name, p)[::STRIDE].numpy() for name, p in named]
    return np.concatenate(out + gradients).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    build = parser.parse_args().build
    folder.mkdir(exist_ok=True)
    for member in ("vnet", "vnet-caffe", "mattmacy"):
        with tempfile.TemporaryDirectory() as scratch:
            model = pathlib.Path(scratch) / "m.onnx"
            subprocess.run([build / "tools" / "vnet-model", "--member", member, "--width", "4", "--stages",
                            str(STAGES), "--classes", "2", "--patch", "x".join([str(SIZE)] * 3), "--seed", "4",
                            "-o", model], check=True)
            vector = golden(member, model)
        np.save(folder / f"{member}.npy", vector)
        print(member, len(vector), vector[:22])


main()
