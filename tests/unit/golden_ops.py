"""Writes golden_ops.inc: what PyTorch (float64) makes of the cases in test_exec.c.

Per case two numbers: the sum of output[i] * value(99, i) over the output in ONNX's order, which any
misplaced element changes, and the sum of |output[i]|, the scale for the tolerance.

    python golden_ops.py > golden_ops.inc
"""
import numpy as np
import torch
import torch.nn.functional as F


def value(seed, n):
    """pb_value of plan_builder.c for i in [0, n)."""
    with np.errstate(over="ignore"):
        x = np.uint64(seed + 1) * np.uint64(0x9E3779B97F4A7C15)
        x = x + np.arange(n, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03)
        x ^= x >> np.uint64(31)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(29)
    return (x >> np.uint64(41)).astype(np.float64) / 4194304.0 - 1.0


def tensor(seed, dims, scale=1.0):
    data = np.float32(scale) * value(seed, int(np.prod(dims))).astype(np.float32)
    return torch.from_numpy(data.astype(np.float64).reshape(dims))


def conv(x, out, k, s, p, dilation, groups, transposed, extra=0):
    inner = x.shape[1] // groups
    scale = np.float32(1) / np.float32(k**3 * inner) * np.float32(8)
    w = tensor(0, (out, k, k, k, inner), scale).permute(0, 4, 1, 2, 3)
    b = tensor(1, (out,), 0.5)
    if not transposed:
        return F.conv3d(x, w, b, s, p, dilation, groups)
    w = w.reshape(groups, out // groups, inner, k, k, k).transpose(1, 2)
    w = w.reshape(groups * inner, out // groups, k, k, k)
    return F.conv_transpose3d(x, w, b, s, p, extra, groups, dilation)


def main():
    x = tensor(1000, (2, 4, 5, 6, 7))
    slope, shift = tensor(0, (4,)), tensor(1, (4,), 0.5)
    grid = tensor(1001, (1, 4, 1, 6, 1))
    cases = {
        "conv": conv(x, 8, 3, 1, 1, 1, 1, False),
        "conv 5x5x5": conv(x, 6, 5, 1, 2, 1, 1, False),
        "conv strided, groups": conv(x, 6, 3, 2, 1, 1, 2, False),
        "conv dilated": conv(x, 8, 3, 1, 2, 2, 1, False),
        "conv no padding": conv(x, 3, 2, 1, 0, 1, 1, False),
        "conv depthwise": conv(x, 4, 3, 1, 1, 1, 4, False),
        "conv much padding": conv(x, 4, 1, 1, 2, 1, 1, False),
        "deconv block": conv(x, 6, 2, 2, 0, 1, 1, True),
        "deconv overlapping": conv(x, 6, 3, 2, 1, 1, 2, True, 1),
        "deconv dilated": conv(x, 4, 3, 1, 1, 2, 1, True),
        "relu": F.relu(x),
        "prelu": F.prelu(x, slope),
        "elu": F.elu(x, 0.75),
        "sigmoid": torch.sigmoid(x),
        "affine": x * slope.view(1, 4, 1, 1, 1) + shift.view(1, 4, 1, 1, 1),
        "instancenorm": F.instance_norm(x, weight=slope, bias=shift, eps=1e-3),
        "softmax c": torch.softmax(x, 1),
        "softmax d": torch.softmax(x, 2),
        "logsoftmax w": torch.log_softmax(x, 4),
        "logsoftmax c": torch.log_softmax(x, 1),
        "argmax c": torch.argmax(x, 1, keepdim=True).double(),
        "argmax h": torch.argmax(x, 3, keepdim=True).double(),
        "add broadcast": F.relu(x + grid),
        "prelu of a tensor": torch.where(x > 0, x, x * grid),
        "copy permuted, tiled": torch.roll(x.permute(0, 2, 1, 4, 3), -3, 4).repeat(1, 1, 2, 1, 1),
    }
    print("/* Written by golden_ops.py from PyTorch %s; do not edit. */" % torch.__version__.split("+")[0])
    for name, y in cases.items():
        y = y.contiguous().numpy().ravel()
        print('{"%s", %.9e, %.9e},' % (name, float(y @ value(99, y.size)), float(np.abs(y).sum())))


main()
