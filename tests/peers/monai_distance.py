"""Golden Dice and 95 % Hausdorff distances by MONAI, for tests/unit/test_train_validate.c.

    python tests/peers/monai_distance.py     (needs torch, monai, scipy; rewrites tests/golden/distance)

A golden is one vector for each case: the shape d h w, the spacing d h w in mm, then Dice and distance
of labels 1 to 3, then the two maps, voxel by voxel. Maps are blobs, moved, dented and speckled, some
of them cut by the grid's border; label 3 is missing from one map in the third case.
"""
import pathlib

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance

folder = pathlib.Path(__file__).parent.parent / "golden" / "distance"
folder.mkdir(exist_ok=True)
LABELS = 3
CASES = [  # shape, spacing in mm
    ((14, 18, 22), (1.0, 1.0, 1.0)),
    ((9, 25, 16), (4.0, 0.7, 1.3)),
    ((20, 12, 15), (0.9375, 2.5, 0.9375)),
    ((1, 30, 24), (5.0, 0.5, 0.8)),
]


def blobs(rng, shape, number):
    """Ellipsoids of a seed that both maps share, each moved and speckled by itself."""
    at = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), -1)
    seeds = np.random.default_rng(100 + number)
    label = np.zeros(shape, np.uint8)
    for value in range(1, LABELS + 1):
        centre = seeds.uniform(0, shape) + rng.normal(0, 0.06, 3) * shape
        radius = seeds.uniform(0.2, 0.45, 3) * shape + 0.6
        label[(((at - centre) / radius) ** 2).sum(-1) < 1] = value
    speckle = rng.uniform(size=shape) < 0.004
    label[speckle] = rng.integers(0, LABELS + 1, speckle.sum())
    return label


for number, (shape, spacing) in enumerate(CASES):
    rng = np.random.default_rng(number)
    target, predicted = blobs(rng, shape, number), blobs(rng, shape, number)
    if number == 2:
        predicted[predicted == 3] = 0
    hot = [torch.from_numpy(np.stack([m == v for v in range(LABELS + 1)])[None].astype(np.float32))
           for m in (predicted, target)]
    dice = compute_dice(*hot, include_background=False)[0].numpy()
    far = compute_hausdorff_distance(*hot, percentile=95, spacing=spacing)[0].numpy()
    far[~np.isfinite(far)] = np.nan  # MONAI's answer depends on which of the two is empty
    scores = np.stack([dice, far], 1).ravel()
    print(shape, spacing, scores, [(target == v).sum() for v in range(LABELS + 1)])
    vector = np.concatenate([shape, spacing, scores, target.ravel(), predicted.ravel()])
    np.save(folder / f"case{number}.npy", vector.astype("<f4"))
