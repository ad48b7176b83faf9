"""A model that vnet-train wrote, judged by others: onnx.checker, and ONNX Runtime's scores.

    python check_trained.py BIN_DIR MODEL.onnx

The checker takes it with full shape inference, and ONNX Runtime's output on a random patch is this
project's, to 1e-4 of its range and in 99.99 % of labels.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime

bin_dir, path = pathlib.Path(sys.argv[1]), sys.argv[2]
model = onnx.load(path)
onnx.checker.check_model(model, full_check=True)
print("opset", model.opset_import[0].version, {p.key: p.value for p in model.metadata_props})
session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
port = session.get_inputs()[0]
x = np.random.default_rng(1).random(port.shape, np.float32)
want = session.run(None, {port.name: x})[0]
with tempfile.TemporaryDirectory() as scratch:
    plan, source, result = (pathlib.Path(scratch) / name for name in ("plan", "x.npy", "y.npy"))
    np.save(source, x)
    subprocess.run([bin_dir / "vnetc", path, "-o", plan], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([bin_dir / "vnet-run", plan, "--tensor", source, "-o", result], check=True, stdout=subprocess.DEVNULL)
    have = np.load(result)
worst = np.abs(have - want).max() / np.ptp(want)
equal = np.mean(have.argmax(1) == want.argmax(1))
print(f"largest difference {worst:.1e} of the range, {100 * equal:.4f} % of labels equal")
assert worst < 1e-4 and equal > 0.9999
