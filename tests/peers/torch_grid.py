"""Goldens of tests/unit/test_grid.c: PyTorch's own resampling of a small volume.

    python torch_grid.py ../golden/grid

Shrinking: torch.nn.functional.interpolate(antialias=True) exists for two axes, so it is applied to
(h, w) and then to (d, 1); the filter is separable. Growing: trilinear, align_corners=False. Extents
divide, so that PyTorch's grid and the project's are the same.
"""
import pathlib
import sys

import numpy as np
import torch
import torch.nn.functional as F

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)


def volume(d, h, w):
    """As test_grid.c fills it."""
    i = np.arange(d * h * w, dtype=np.uint64)
    return ((i * 2654435761 % 2**32) >> 20).astype(np.float32).reshape(d, h, w) / 4096


def along(x, d, h, w):
    x = F.interpolate(torch.from_numpy(x)[:, None], (h, w), mode="bilinear", antialias=True)[:, 0]
    x = x.permute(1, 2, 0)[..., None]  # h w d 1
    x = F.interpolate(x.permute(0, 3, 2, 1), (d, w), mode="bilinear", antialias=True)
    return x[:, 0].permute(1, 0, 2).contiguous().numpy()


for number, (have, want) in enumerate([((12, 9, 10), (6, 3, 5)), ((4, 6, 5), (12, 12, 5)),
                                       ((8, 12, 6), (16, 4, 12))]):
    np.save(folder / f"grid{number}.npy", along(volume(*have), *want))
