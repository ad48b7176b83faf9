"""Golden scores and weights of MONAI's sliding-window inference, for tests/unit/test_window.c.

    python tests/peers/monai_window.py        (needs torch and monai; rewrites tests/golden/window)

The network is a formula that knows where in its window a voxel lies, so that a window in the wrong
place, a wrong weight or a wrong padding shows. The C test has the same formula and the same input.
"""
import pathlib

import numpy as np
import torch
from monai.data.utils import compute_importance_map
from monai.inferers import sliding_window_inference

folder = pathlib.Path(__file__).parent.parent / "golden" / "window"
folder.mkdir(exist_ok=True)
CASES = [  # scan, patch
    ((13, 11, 9), (6, 4, 8)),
    ((5, 12, 7), (8, 5, 9)),
    ((8, 6, 7), (8, 6, 7)),
    ((21, 7, 10), (4, 7, 3)),
    ((3, 2, 1), (6, 5, 4)),
]


def scan(shape):
    i = np.arange(np.prod(shape), dtype=np.uint32)
    return ((i * np.uint32(2654435761)) >> np.uint32(20)).astype(np.float32).reshape(shape) / 4096


def network(x):
    d, h, w = np.indices(x.shape[2:])
    place = torch.from_numpy((((d * 7 + h * 3 + w * 5) % 11) / 16).astype(np.float32))
    return torch.cat([x + place, x * x - place], dim=1)


for number, (size, patch) in enumerate(CASES):
    x = torch.from_numpy(scan(size))[None, None]
    y = sliding_window_inference(x, patch, 1, network, overlap=0.5, mode="gaussian")
    np.save(folder / f"scores{number}.npy", np.ascontiguousarray(y[0].numpy(), dtype="<f4"))
    weights = compute_importance_map(patch, mode="gaussian", sigma_scale=0.125)
    np.save(folder / f"weights{number}.npy", np.ascontiguousarray(weights.numpy(), dtype="<f4"))
