"""vnet-train on pairs of scan and label map: overfits one phantom until the runtime segments the
whole scan; starts from models of files; half precision; what it refuses; a loss that diverges.

    run_train_data.py BIN_DIR
"""
import csv
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np

bin_dir = pathlib.Path(sys.argv[1])
scratch = tempfile.TemporaryDirectory(prefix="vnet-train-data-")
folder = pathlib.Path(scratch.name)
random = np.random.default_rng(7)
SMALL = ["--patch", "16x16x16", "--steps", "2", "-q"]
NET = ["--width", "2", "--stages", "2"]


def call(program, *words):
    done = subprocess.run([str(bin_dir / program), *map(str, words)], capture_output=True, text=True, timeout=1800)
    return done.returncode, done.stdout, done.stderr


def train(output, *words, data="cases.csv"):
    status, _, err = call("vnet-train", "--data", folder / data, "-o", folder / output, *words)
    assert status == 0, err
    return (folder / output).read_bytes()


def refused(status, text, *words, data="cases.csv"):
    got, _, err = call("vnet-train", "--data", folder / data, "-o", folder / "no.onnx", *SMALL, *words)
    assert got == status and text in err and err.count("\n") == 1, (got, err)
    assert not (folder / "no.onnx").exists()


def column(path, name):
    return [float(row[name]) for row in csv.DictReader(open(folder / path))]


def rows_of(path):
    """Whole rows, of a log that may be written at the moment."""
    return (folder / path).read_text().count("\n") - 1


def phantom_make():
    x, y, z = np.ogrid[-22:22, -20:20, -18:18]
    label = ((x / 13) ** 2 + (y / 11) ** 2 + (z / 9) ** 2 < 1).astype(np.uint8)
    image = (80 * label + 40 + random.normal(0, 12, label.shape)).astype(np.float32)
    for name, voxels in (("scan", image), ("label", label)):
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.5, 1.5, 1.5, 1])), folder / f"{name}.nii.gz")
    (folder / "cases.csv").write_text("image,label,split\nscan.nii.gz,label.nii.gz,train\n"
                                      "scan.nii.gz,label.nii.gz,validation\n")


def learns_a_phantom():
    train("phantom.onnx", "--width", "4", "--stages", "3", "--patch", "32x32x32", "--steps", "120", "--rate", "0.005",
          "--validate-every", "60", "--every", "60", "--log", folder / "phantom.csv", "--charts", folder / "phantom",
          "--label-names", "ball:#ff0000", "-q")
    dice = column("phantom.validation.csv", "dice")
    assert len(dice) == 2 and max(dice) >= 0.98, dice
    for model in ("phantom.onnx", "phantom.best.onnx"):
        assert call("vnetc", folder / model, "-o", folder / "phantom.plan")[0] == 0
    best = int(np.argmax(dice))
    status, _, err = call("vnet-run", folder / "phantom.plan", folder / "scan.nii.gz", "-o", folder / "out.nii.gz")
    assert status == 0, err
    a, b = (np.asanyarray(nibabel.load(folder / n).dataobj) > 0 for n in ("out.nii.gz", "label.nii.gz"))
    mine = 2 * (a & b).sum() / (a.sum() + b.sum())
    assert abs(mine - dice[best]) < 1e-5, (mine, dice)
    assert any("ball" in path.read_text() for path in folder.glob("out*.txt"))
    for chart in ("curves", "slices"):
        assert (folder / f"phantom-{chart}.png").read_bytes().startswith(b"\x89PNG")


def validation_publishes_nothing():
    """The model is that of the last checkpoint, which a run that diverges no longer writes."""
    words = ["--data", folder / "cases.csv", "-o", folder / "unseen.onnx", *SMALL, *NET, "--steps", "100000", "--every", "100000",
             "--log", folder / "unseen.csv", "--validate-every", "2"]
    process = subprocess.Popen([str(w) for w in (bin_dir / "vnet-train", *words)], stderr=subprocess.PIPE)
    while not (folder / "unseen.best.onnx").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert rows_of("unseen.validation.csv") > 0 and not (folder / "unseen.onnx").exists()


def curves_need_no_step():
    """A finished run that is resumed draws what its logs have; slices are of a batch, and it has none."""
    train("drawn.onnx", *SMALL, *NET, "--log", folder / "drawn.csv")
    again = ["--resume", "--charts", folder / "drawn"]
    train("drawn.onnx", *SMALL, *NET, "--log", folder / "new.csv", *again)
    assert not list(folder.glob("drawn-*.png"))  # of a log without rows
    seen = []
    for more in ([], ["--validate-every", "2"]):
        train("drawn.onnx", *SMALL, *NET, "--log", folder / "drawn.csv", *again, *more)
        seen.append((folder / "drawn-curves.png").read_bytes())
    assert seen[0] != seen[1] and not (folder / "drawn-slices.png").exists()


def starts_from_models():
    """The same weights from a file are the same run; a network with BatchNorm stays the function
    that it was; a size of its own is no hindrance."""
    whole = train("whole.onnx", *SMALL, *NET, "--member", "vnet-caffe", "--seed", "5", "--log", folder / "whole.csv")
    assert call("vnet-model", "-o", folder / "start.onnx", "--member", "vnet-caffe", *NET, "--classes", "2",
                "--tail", "softmax", "--seed", "5", "--patch", "32x16x48")[0] == 0
    again = train("again.onnx", *SMALL, "--init", folder / "start.onnx", "--seed", "5", "--log", folder / "again.csv")
    assert column("whole.csv", "loss") == column("again.csv", "loss")
    assert len(whole) == len(again)
    train("norm.onnx", *SMALL, *NET, "--member", "monai", "--steps", "12", "--log", folder / "norm.csv",
          "--expect", "ml 1 1 2; pieces 1 3")
    frozen = [*SMALL, "--rate", "0", "--seed", "3", "--steps", "1"]  # only running statistics move
    train("norm2.onnx", *frozen, "--init", folder / "norm.onnx", "--log", folder / "norm2.csv")
    train("norm3.onnx", *frozen, "--init", folder / "norm2.onnx", "--log", folder / "norm3.csv")
    assert b"vnet.expect\x12\x14ml 1 1 2; pieces 1 3" in (folder / "norm3.onnx").read_bytes()
    a, b = column("norm2.csv", "loss")[0], column("norm3.csv", "loss")[0]
    scores = []
    for model in ("norm", "norm2"):
        assert call("vnetc", folder / f"{model}.onnx", "-o", folder / "norm.plan")[0] == 0
        status, _, err = call("vnet-run", folder / "norm.plan", folder / "scan.nii.gz", "-o", folder / "o.nii.gz",
                              "--scores", folder / "s.nii.gz", "--scores-type", "float32")
        assert status == 0, err
        scores.append(nibabel.load(folder / "s.nii.gz").get_fdata())
    apart = np.abs(scores[0] - scores[1]).max()
    assert abs(a - b) < 1e-4 and apart < 2e-3 and np.ptp(scores[0]) > 0.1, (a, b, apart)


def takes_what_the_model_says():
    """The README's second line: what is not said is the model's; what contradicts it is refused."""
    train("liver.onnx", *SMALL, *NET, "--classes", "3", "--spacing", "1.5", "--orientation", "LPS", "--intensity",
          "window -50 150", "--label-names", "liver,tumour:#c83232", "--model-patch", "24x16x32")
    train("better.onnx", *SMALL, "--init", folder / "liver.onnx", "--rate", "1e-4")
    said = []
    for model in ("liver", "better"):
        assert call("vnetc", folder / f"{model}.onnx", "-o", folder / f"{model}.plan")[0] == 0
        lines = call("vnet-plan", folder / f"{model}.plan")[1].splitlines()
        said.append([line for line in lines if line.startswith(("metadata   vnet", "input", "output"))])
    said = [sorted(line for line in lines if "vnet.compiled_from" not in line) for lines in said]
    assert said[0] == said[1] and len(said[0]) == 7, said
    assert any("tumour" in line for line in said[1]) and any("1,1,24,16,32" in line for line in said[1]), said
    refused(2, "--loss sigmoid: for two classes", "--init", folder / "liver.onnx", "--loss", "sigmoid")
    refused(2, "more than 2", "--init", folder / "liver.onnx", "--label-names", "a,b,c")


def halves():
    whole = train("whole.onnx", *SMALL, *NET)
    half = train("half.onnx", *SMALL, *NET, "--float16")
    assert len(half) < 0.75 * len(whole), (len(half), len(whole))
    status, text, err = call("vnetc", folder / "half.onnx", "-o", folder / "half.plan")
    assert status == 0 and "monai width=2 stages=2" in text, err


def refusals():
    refused(2, "one of the two", "--labels", folder)
    refused(2, "need --log", "--validate-every", "5")
    refused(2, "--loss dice: for two classes", "--classes", "3", "--loss", "dice")
    refused(2, "--init says what the network is", "--init", folder / "start.onnx", "--width", "2")
    refused(2, "does not fit", "--init", folder / "start.onnx", "--patch", "15x16x16")
    refused(3, "No such file", "--init", folder / "absent.onnx")
    refused(2, "not be overwritten", "--init", folder / "start.onnx", "-o", folder / "start.onnx")
    refused(2, "not be overwritten", "--log", folder / "scan.nii.gz")
    refused(2, "not be overwritten", "--checkpoint", f"{folder}/./label.nii.gz")
    refused(2, "one file", "--log", folder / "no.onnx")
    refused(2, "one file", "--checkpoint", folder / "no.onnx")
    refused(2, "one file", "--log", folder / "no-curves.png", "--charts", folder / "no")
    refused(2, "one file", "--log", folder / "no.csv", "--checkpoint", folder / "no.validation.csv",
            "--validate-every", "5")
    refused(2, "--patch: with --data at most 512 along w", "--patch", "16x16x520", data="absent.csv")
    refused(2, "--charts draws samples of at most 1024 voxels", "--patch", "16x1040x16", "--charts", folder / "no", "--log",
            folder / "no.csv", data="absent.csv")
    refused(2, "--spacing", "--spacing", "1 2")
    refused(2, "--flip", "--flip", "x")
    refused(2, "more than 1", "--label-names", "a,b")
    refused(2, "--label-names", "--label-names", "a:red")
    refused(2, "--expect: ", "--expect", "ml 2 1 2")
    refused(2, "--intensity", "--intensity", "percentile 9")
    refused(3, "absent.csv", data="absent.csv")
    (folder / "only.csv").write_text("image,label,split\nscan.nii.gz,label.nii.gz,validation\n")
    refused(4, "no case to train on", data="only.csv")
    (folder / "train.csv").write_text("image,label\nscan.nii.gz,label.nii.gz\n")
    refused(2, "for validation", "--validate-every", "1", "--log", folder / "l.csv", data="train.csv")
    lost = ["--optimizer", "sgd", "--rate", "10", "--steps", "200", "--cross-entropy", "100", "--every", "1000"]
    got, _, err = call("vnet-train", "--data", folder / "cases.csv", "-o", folder / "lost.onnx", *SMALL, *NET, *lost)
    assert got == 4 and "is not finite at step" in err and "no checkpoint was written" in err, (got, err)


def notes():
    """What the reader sets right, in either file, and filling: said once, for each case."""
    image = nibabel.load(folder / "scan.nii.gz")
    padded = np.pad(image.get_fdata(dtype=np.float32), 6, constant_values=-2000)
    scan = nibabel.Nifti1Image(padded, image.affine)
    label = nibabel.Nifti1Image(np.pad(np.asanyarray(nibabel.load(folder / "label.nii.gz").dataobj), 6), image.affine)
    for name, made in (("padded", scan), ("slope", label)):
        nibabel.save(made, folder / f"{name}.nii")
    raw = bytearray((folder / "slope.nii").read_bytes())
    raw[112:116] = np.float32(np.inf).tobytes()  # scl_slope, which nibabel does not write
    (folder / "slope.nii").write_bytes(raw)
    (folder / "noted.csv").write_text("image,label\npadded.nii,slope.nii\nscan.nii.gz,label.nii.gz\n")
    words = ["--data", folder / "noted.csv", "-o", folder / "noted.onnx", *NET, *SMALL[:-1]]
    status, _, err = call("vnet-train", *words)
    said = [line for line in err.splitlines() if "note: " in line]
    assert status == 0 and len(said) == 1, err
    assert "padded.nii: " in said[0] and "slope.nii: its scl_slope is infinite" in said[0] and "are filling (-2000)" in said[0], said
    status, _, err = call("vnet-train", *words, "-q")
    assert status == 0 and not err, err


def diverges():
    """A loss that has left its best for good ends the run; the checkpoint is from before it left."""
    words = ["--data", folder / "cases.csv", "-o", folder / "left.onnx", *SMALL, *NET, "--optimizer", "sgd", "--rate",
             "0.04", "--cross-entropy", "3", "--steps", "20000", "--every", "50", "--threads", "1", "--seed", "3",
             "--log", folder / "left.csv"]
    got, _, err = call("vnet-train", *words)
    found = re.fullmatch(r"vnet-train: the loss diverges: .* at step (\d+) after .* last good state .*\n", err)
    assert got == 4 and found, (got, err)
    end = int(found[1])
    assert rows_of("left.csv") == end
    again = subprocess.Popen([str(w) for w in (bin_dir / "vnet-train", *words, "--resume")], stderr=subprocess.PIPE)
    while (rows := rows_of("left.csv")) >= end and again.poll() is None:
        time.sleep(0.001)
    again.kill()
    again.communicate()
    assert 0 < rows < end - 400, (rows, end)


phantom_make()
for test in (learns_a_phantom, validation_publishes_nothing, curves_need_no_step, starts_from_models, takes_what_the_model_says, halves, refusals, notes, diverges):
    start = time.monotonic()
    test()
    print(f"{test.__name__.replace('_', ' ')}: {time.monotonic() - start:.1f} s", flush=True)
