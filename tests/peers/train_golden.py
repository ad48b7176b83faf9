"""Goldens of tests/unit/test_train.c: losses, gradients and optimiser steps by PyTorch, in float64.

    python train_golden.py --build ../../build        (needs torch, onnx; rewrites tests/golden/train)

Weights are those of vnet-model, so that the C test has them without a file. A golden is one vector:
losses before the first and after each of ten steps of SGD and of AdamW; for every parameter the norm
of its first gradient and every stride-th element; every stride-th weight after SGD and after AdamW.
"""

import argparse
import copy
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import nn

import networks

SIZE, BATCH, SEED = 16, 2, 9
CASES = [  # golden, member, stages, stride, dropout: as in the C test
    ("vnet", "vnet", 3, 61, False),
    ("vnet-2016", "vnet-2016", 3, 127, False),
    ("vnet-caffe", "vnet-caffe", 3, 61, False),
    ("monai", "monai", 3, 127, False),
    ("mattmacy", "mattmacy", 3, 61, False),
    ("monai-dropout", "monai", 4, 509, True),
]
folder = pathlib.Path(__file__).parent.parent / "golden" / "train"


def batch():
    d, h, w = np.meshgrid(*(np.arange(SIZE),) * 3, indexing="ij")
    x = np.stack([np.sin(d * 0.9 + h * 0.35 + 0.4) + np.cos(w * 0.7 - h * 0.2) + 0.1 * n for n in range(BATCH)])
    g = np.stack([(d - 7 - n) ** 2 + (h - 6) ** 2 + (w - 9) ** 2 < 30 for n in range(BATCH)])
    return torch.from_numpy(x[:, None].astype(np.float32).astype(np.float64)), torch.from_numpy(g.astype(np.int64))


def run_order(net, x, kinds):
    """Names of the modules of these kinds as the network runs them."""
    twin, order = copy.deepcopy(net), []
    for name, module in twin.named_modules():
        if isinstance(module, kinds):
            module.register_forward_hook(lambda *_, name=name: order.append(name))
    with torch.no_grad():
        twin(x)
    return order


def parameters_of(net, x):
    """Parameters in the order of the graph's constants."""
    kinds = (nn.Conv3d, nn.ConvTranspose3d, nn.BatchNorm3d, nn.PReLU)
    return [p for name in run_order(net, x, kinds) for p in net.get_submodule(name).parameters()]


# ---- dropout: random.h and net_dropout.c in numpy ----


def philox(key, counter):
    key, counter = list(key), list(counter)
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [(b >> 32) ^ counter[1] ^ key[0], b & 0xFFFFFFFF, (a >> 32) ^ counter[3] ^ key[1], a & 0xFFFFFFFF]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter


class Masks(nn.Module):
    """What the C test has in the place of a Dropout3d: seed SEED, step `turn`, probability 0.5."""

    def __init__(self, place):
        super().__init__()
        self.place, self.turn = place, 0

    def forward(self, x):
        n, c = x.shape[:2]
        turns, mask = -(-c // 4), np.zeros((n, c))
        for i in range(n):
            draws = [bits for k in range(turns)
                     for bits in reversed(philox((SEED, 0), (i * turns + k, 0x44500000 + self.place, self.turn, 0)))]
            mask[i] = [0 if bits / 2**32 < 0.5 else 2 for bits in draws[:c]]
        return x * torch.from_numpy(mask)[:, :, None, None, None]


def masks_insert(net, x):
    """In the place of every Dropout3d, numbered as the network runs them."""
    masks = []
    for name in run_order(net, x, nn.Dropout3d):
        masks.append(Masks(len(masks)))
        net.set_submodule(name, masks[-1])
    return masks


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


def golden(member, stages, stride, dropout, model):
    x, g = batch()
    out = []
    for optimiser in ("sgd", "adamw"):
        options = networks.Options(width=4, stages=stages, classes=2, tail="none")
        net = networks.build(member, options)[0].double().train()
        for module in net.modules():
            if isinstance(module, nn.Dropout3d) and not dropout:
                module.p = 0
        masks = masks_insert(net, x) if dropout else []
        tensors = [t for t in onnx.load(model).graph.initializer
                   if t.name.rpartition(".")[2] in ("w", "b", "a", "scale", "shift")]
        named = list(zip([t.name for t in tensors], parameters_of(net, x), strict=True))
        assert len(named) == len(list(net.parameters()))
        for tensor, (_, p) in zip(tensors, named):
            p.data = torch.from_numpy(numpy_helper.to_array(tensor).astype(np.float64)).reshape(p.shape)
        if optimiser == "sgd":
            step = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        else:
            step = torch.optim.AdamW(net.parameters(), lr=0.0001, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
        for turn in range(11):
            for mask in masks:
                mask.turn = turn
            step.zero_grad()
            loss = loss_of(member, net(x), g)
            loss.backward()
            out.append([loss.item()])
            if turn == 0 and optimiser == "sgd":
                gradients = [v for name, p in named
                             for v in ([flat(name, p.grad).norm().item()], flat(name, p.grad)[::stride].numpy())]
            if turn < 10:
                step.step()
        gradients += [flat(name, p)[::stride].numpy() for name, p in named]
    return np.concatenate(out + gradients).astype(np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=pathlib.Path, required=True)
    build = parser.parse_args().build
    folder.mkdir(exist_ok=True)
    for name, member, stages, stride, dropout in CASES:
        with tempfile.TemporaryDirectory() as scratch:
            model = pathlib.Path(scratch) / "m.onnx"
            subprocess.run([build / "tools" / "vnet-model", "--member", member, "--width", "4", "--stages",
                            str(stages), "--classes", "2", "--patch", "x".join([str(SIZE)] * 3), "--seed", "4",
                            "-o", model], check=True)
            vector = golden(member, stages, stride, dropout, model)
        np.save(folder / f"{name}.npy", vector)
        print(name, len(vector), vector[:22])


main()
