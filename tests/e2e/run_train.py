"""vnet-train from label maps to a model that vnetc takes; killed and resumed to the same bytes.

    run_train.py BIN_DIR
"""
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np

bin_dir = pathlib.Path(sys.argv[1])
scratch = tempfile.TemporaryDirectory(prefix="vnet-train-")
folder = pathlib.Path(scratch.name)
OPTIONS = ["--width", "2", "--stages", "2", "--patch", "16x24x16", "--model-patch", "16x16x16",
           "--spacing", "6", "--steps", "12", "--every", "4", "--seed", "3"]


def labels_make():
    (folder / "labels").mkdir()
    for number in range(2):
        x, y, z = np.ogrid[-32:32, -32:32, -32:32]
        r = x**2 + (y * (1 + 0.2 * number)) ** 2 + z**2
        head = np.select([r < 300, r < 500, r < 700], [2, 3, 502], 0).astype(np.int32)
        nibabel.save(nibabel.Nifti1Image(head, np.diag([-3, 3, 3, 1])), folder / "labels" / f"{number}.nii.gz")


def train(output, *words, labels="labels"):
    command = [bin_dir / "vnet-train", "--labels", folder / labels, "-o", folder / output, *OPTIONS, *words]
    return subprocess.Popen([str(w) for w in command], stderr=subprocess.PIPE, text=True)


def trained(output, *words):
    process = train(output, *words)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return (folder / output).read_bytes()


def refused(status, text, output, *words, labels="labels"):
    process = train(output, *words, labels=labels)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status and text in err and err.count("\n") == 1, (process.returncode, err)


labels_make()
whole = trained("whole.onnx", "--threads", "1", "--log", folder / "log.csv", "-q")
assert whole == trained("threads.onnx", "--threads", "3", "-q")
rows = (folder / "log.csv").read_text().splitlines()
assert len(rows) == 13 and rows[0].startswith("step,loss,dice")
assert all(np.isfinite([float(v) for v in row.split(",")]).all() for row in rows[1:])
plan = subprocess.run([bin_dir / "vnetc", folder / "whole.onnx", "-o", folder / "plan"], capture_output=True, text=True)
assert plan.returncode == 0 and "vnet-caffe width=2 stages=2" in plan.stdout, plan.stderr

for number in (signal.SIGKILL, signal.SIGINT):  # at once dead; and the state saved before the end
    process = train("killed.onnx", "-q", "--threads", "1")
    deadline = time.monotonic() + 60
    while not (folder / "killed.onnx.ckpt").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.0005)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (-9, 7, 0)
    assert trained("killed.onnx", "-q", "--resume") == whole
    (folder / "killed.onnx.ckpt").unlink()

refused(4, "another run", "whole.onnx", "-q", "--resume", "--width", "4")
damaged = bytearray((folder / "whole.onnx.ckpt").read_bytes())
damaged[200] ^= 1
(folder / "bad.ckpt").write_bytes(damaged)
refused(4, "damaged", "whole.onnx", "-q", "--resume", "--checkpoint", folder / "bad.ckpt")
(folder / "bad.ckpt").write_bytes(damaged[:300])
refused(4, "cut off", "whole.onnx", "-q", "--resume", "--checkpoint", folder / "bad.ckpt")
refused(3, "No such file", "x.onnx", "-q", "--resume", "--checkpoint", folder / "none.ckpt")
refused(3, "No such file", "x.onnx", "-q", labels="absent")
(folder / "empty").mkdir()
refused(2, "no label map", "x.onnx", "-q", labels="empty")
nibabel.save(nibabel.Nifti1Image(np.full((8, 8, 8), 502, np.int16), np.eye(4)), folder / "empty" / "x.nii")
refused(4, "no brain", "x.onnx", "-q", labels="empty")
refused(3, "cannot write", "none/x.onnx", "-q")
print("trained, resumed, refused")
