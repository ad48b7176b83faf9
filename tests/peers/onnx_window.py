"""Golden of tests/e2e/run_window.py: MONAI's sliding window around ONNX Runtime.

    python tests/peers/onnx_window.py        (needs monai, torch, onnxruntime; rewrites the golden)

The scan is a formula, in the test as well. The model is tests/fixtures/scan/blend.onnx.
"""
import pathlib

import numpy as np
import onnxruntime
import torch
from monai.inferers import sliding_window_inference

here = pathlib.Path(__file__).parent.parent
session = onnxruntime.InferenceSession(here / "fixtures" / "scan" / "blend.onnx")
SHAPE, PATCH = (37, 41, 50), (16, 24, 20)  # d h w


def scan():
    d, h, w = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    return (np.sin(d * 0.9 + h * 0.35) + np.cos(w * 0.7 - h * 0.2) + (d * h * w % 7) / 7).astype(np.float32)


def network(x):
    return torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


scores = sliding_window_inference(torch.from_numpy(scan())[None, None], PATCH, 1, network,
                                  overlap=0.5, mode="gaussian", sigma_scale=0.125)
np.save(here / "golden" / "window" / "blend.npy", scores[0].numpy()[:, ::2, ::3, ::3].copy())
