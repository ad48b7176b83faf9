"""vnet-train from label maps to a model that vnetc takes: the same bytes for any number of threads, killed
at any moment and resumed; a full disk; the brain's parts by a table; samples as files; what it refuses.

    run_train.py BIN_DIR
"""
import hashlib
import pathlib
import random
import resource
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
# Of the model that these options make with this text in it: without and with fused multiply-add.
EXPECT = "extent 100 320 120 320 80 350; ml 1 800 2100; share 1 0.03 0.6; pieces 1 2"
PLAIN, FMA = "5ec33177f2683403791a985d856e7a7e", "4a38289a80a7034575616903225bc6f3"


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
    _, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    return (folder / output).read_bytes()


def refused(status, text, output, *words, labels="labels"):
    process = train(output, *words, labels=labels)
    _, err = process.communicate(timeout=60)
    assert process.returncode == status and text in err and err.count("\n") == 1, (process.returncode, err)


labels_make()
whole = trained("whole.onnx", "--threads", "1", "--log", folder / "log.csv", "-q")
assert whole == trained("twice.onnx", "--threads", "1", "-q")
for threads, feeds in (("2", "0"), ("4", "3")):
    assert whole == trained("threads.onnx", "--threads", threads, "--feed-threads", feeds, "-q")
# The promise (README.md): the same weights wherever the instruction set is of the same kind; in wide layers, too,
# where vectors of 8 and of 16 channels are both full.
WIDE = ["--width", "16", "--stages", "4", "--steps", "2", "--patch", "32x32x32"]
wide = {}
for isa in ("portable", "avx2", "avx512", "neon"):
    process = train("isa.onnx", "--isa", isa, "--expect", EXPECT, "-q")
    _, err = process.communicate(timeout=500)
    if process.returncode in (2, 5) and "instruction" in err:  # not in this build, or not in this machine
        continue
    assert process.returncode == 0, err
    have = hashlib.md5((folder / "isa.onnx").read_bytes()).hexdigest()
    assert have == (PLAIN if isa == "portable" else FMA), f"trained on {isa}: {have}"
    if isa != "portable":
        wide[isa] = trained("wide.onnx", "--isa", isa, "-q", *WIDE)
assert len(set(wide.values())) <= 1, f"wide layers differ between {', '.join(wide)}"
rows = (folder / "log.csv").read_text().splitlines()
assert len(rows) == 13 and rows[0].startswith("step,loss,dice")
assert all(np.isfinite([float(v) for v in row.split(",")]).all() for row in rows[1:])
plan = subprocess.run([bin_dir / "vnetc", folder / "whole.onnx", "-o", folder / "plan"], capture_output=True, text=True)
assert plan.returncode == 0 and "monai width=2 stages=2" in plan.stdout, plan.stderr

dropped = trained("dropped.onnx", "--dropout", "0.3", "--stages", "3", "--threads", "1", "-q")
assert dropped == trained("dropped2.onnx", "--dropout", "0.3", "--stages", "3", "--threads", "2", "-q")

# Frozen from the first step on that is no earlier than the fraction: step 3 of 6 in both.
assert trained("f1.onnx", "--freeze", "0.5", "--steps", "6", "-q") == trained("f2.onnx", "--freeze", "0.45", "--steps", "6", "-q")
assert trained("f1.onnx", "--freeze", "0.5", "--steps", "6", "-q") != trained("f2.onnx", "--freeze", "0.55", "--steps", "6", "-q")


def interrupted(number, after_s):
    """Ended at any moment and resumed: the same bytes, and a log of the same losses."""
    for path in folder.glob("killed.*"):
        path.unlink()
    words = ["-q", "--threads", "1", "--every", "1", "--log", folder / "killed.csv"]
    process = train("killed.onnx", *words)
    deadline = time.monotonic() + 60
    while not (folder / "killed.onnx.ckpt").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.0005)
    time.sleep(after_s)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (-9, 7, 0), err
    assert process.returncode != 7 or "go on with --resume" in err
    assert trained("killed.onnx", *words, "--resume") == whole
    losses = [[row.split(",")[:3] for row in (folder / name).read_text().splitlines()] for name in ("log.csv", "killed.csv")]
    assert losses[0] == losses[1]


seed = random.randrange(10**6)
print("moments of kill -9: seed", seed)
moments = random.Random(seed)
for number in [signal.SIGKILL] * 3 + [signal.SIGINT]:
    interrupted(number, moments.uniform(0, 0.3))


def full_disk():
    """A checkpoint that does not fit: the one before is whole, and so is the model."""
    trained("full.onnx", "-q", "--steps", "4", "--optimizer", "sgd")
    before = {path: path.read_bytes() for path in folder.glob("full.*")}
    limit = min(map(len, before.values())) - 1000
    words = ["-q", "--resume", "--steps", "8", "--optimizer", "sgd"]
    command = [bin_dir / "vnet-train", "--labels", folder / "labels", "-o", folder / "full.onnx", *OPTIONS, *words]
    done = subprocess.run([str(w) for w in command], capture_output=True, text=True, timeout=120,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert done.returncode == 3 and "File too large" in done.stderr and "whole" in done.stderr, done.stderr
    assert {path: path.read_bytes() for path in folder.glob("full.*")} == before
    assert not list(folder.glob(".full*")), "a part of a file is left"


def validated():
    """On scans of its own: those that the label maps could be of. The weights stay what they are."""
    head = nibabel.load(folder / "labels" / "0.nii.gz")
    values = np.asanyarray(head.dataobj)
    for name, voxels in (("scan", 40.0 * (values > 0) + values % 7), ("brain", np.isin(values, (2, 3)))):
        nibabel.save(nibabel.Nifti1Image(voxels.astype(np.float32), head.affine), folder / f"{name}.nii.gz")
    (folder / "scans.csv").write_text("image,label\nscan.nii.gz,brain.nii.gz\n")
    words = ["-q", "--log", folder / "v.csv", "--validate-every", "6", "--validation", folder / "scans.csv"]
    assert trained("validated.onnx", *words) == whole
    rows = (folder / "v.validation.csv").read_text().splitlines()
    assert len(rows) == 3 and all("scan.nii.gz" in row for row in rows[1:]), rows
    refused(2, "with --labels those of --validation", "x.onnx", "-q", "--log", folder / "x.csv", "--validate-every", "6")


def other_cases_have_a_best_of_their_own():
    """A model that finds nothing on scans where there is nothing scores 1, and is not the best of other scans."""
    (folder / "empty.csv").write_text("image,label\nscan.nii.gz,none\n")
    words = ["--steps", "400", "--log", folder / "b.csv", "--validate-every", "4", "--validation"]
    process = train("b.onnx", *words, folder / "empty.csv", "--odds", "1e-6", "-q")
    while not (folder / "b.onnx.ckpt").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 7
    best = folder / "b.best.onnx"
    assert b"vnet.validation_dice" in best.read_bytes() and b"vnet.validation_dice\x12\x081 0." not in best.read_bytes()
    process = train("b.onnx", *words, folder / "scans.csv", "--resume")
    _, err = process.communicate(timeout=500)
    assert process.returncode == 0 and "other cases are validated on than before" in err, err
    assert b"vnet.validation_dice\x12\x081 0." in best.read_bytes()


def a_finished_run_is_validated():
    """On other cases, or of a model made otherwise, once; and not again after a resumption without validation."""
    words = ["-q", "--log", folder / "w.csv"]
    validated = ["--validate-every", "12", "--validation"]
    best = folder / "w.best.onnx"

    def resumed(*more, again):
        log = folder / "w.validation.csv"
        log.write_text(log.read_text().replace("\n12,", "\n012,"))  # a mark on rows that are kept
        best.unlink(missing_ok=True)
        trained("w.onnx", *words, *more, "--resume")
        rows = log.read_text().splitlines()[1:]
        assert len(rows) == 1 and rows[0].startswith("12," if again else "012,") and best.exists() == again, (more, rows)

    trained("w.onnx", *words, *validated, folder / "empty.csv")
    resumed(*validated, folder / "empty.csv", again=False)
    resumed(again=False)
    resumed(*validated, folder / "empty.csv", again=False)
    resumed(*validated, folder / "scans.csv", again=True)
    for more in (["--odds", "2"], ["--odds", "2", "--float16"], ["--odds", "2", "--float16", "--model-patch", "24x16x16"],
                 ["--intensity", "percentile 0.5 99.5, ct 0 80"]):
        resumed(*validated, folder / "scans.csv", *more, again=True)
        resumed(*validated, folder / "scans.csv", *more, again=False)


def validation_is_made_up_for():
    """Stopped at any moment, in a validation or not, and resumed: the scores of a run that was never stopped."""
    if (bin_dir / "vnet-train").read_bytes().startswith(b"#!"):
        return  # an emulator, which takes minutes for it
    (folder / "many.csv").write_text("image,label\n" + 24 * "scan.nii.gz,brain.nii.gz\n")
    words = ["-q", "--validate-every", "6", "--validation", folder / "many.csv", "--threads", "1"]
    begun = time.monotonic()
    assert trained("never.onnx", *words, "--log", folder / "never.csv") == whole
    took = time.monotonic() - begun
    for part in (0.3, 0.6):  # validations take most of the time
        for path in folder.glob("cut.*"):
            path.unlink()
        process = train("cut.onnx", *words, "--log", folder / "cut.csv")
        while not (folder / "cut.onnx.ckpt").exists():
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.001)
        time.sleep(part * took)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, 7), err
        assert trained("cut.onnx", *words, "--log", folder / "cut.csv", "--resume") == whole
        scores = [(folder / f"{name}.validation.csv").read_text() for name in ("never", "cut")]
        assert scores[0] == scores[1], [len(text) for text in scores]


def options_have_an_effect():
    """What would be passed over, or bent, is refused."""
    model = [bin_dir / "vnet-model", "-o", folder / "flat.onnx", "--member", "monai", "--width", "2", "--stages", "2", "--classes",
             "2", "--patch", "16x16x16", "--tail", "softmax", "--spacing", "1 1 4"]
    subprocess.run([str(w) for w in model], check=True, timeout=60)
    short = ["--steps", "1", "--patch", "16x24x16", "-q"]

    def says(status, text, *words):
        command = [bin_dir / "vnet-train", "--labels", folder / "labels", "-o", folder / "x.onnx", *short, *words]
        done = subprocess.run([str(w) for w in command], capture_output=True, text=True, timeout=60)
        assert done.returncode == status and text in done.stderr and done.stderr.count("\n") == (status > 0), done.stderr

    says(2, "its spacing is 1 x 1 x 4 mm, and with --labels it is one number", "--init", folder / "flat.onnx")
    says(0, "", "--init", folder / "flat.onnx", "--spacing", "6")
    says(2, "--flip, --paper", "--flip", "none")
    says(2, "--flip, --paper", "--paper")
    net = ["--width", "2", "--stages", "2", "--spacing", "6"]
    says(5, "has an activation behind its scores", *net, "--member", "vnet", "--odds", "2")
    says(0, "", *net, "--optimizer", "sgd", "--steps", "3")
    says(2, "it is at step 3, beyond --steps 2", *net, "--optimizer", "sgd", "--steps", "2", "--resume")


def parts():
    """What a table says, on samples that are written as files: scored, and read as they were rendered."""
    (folder / "table.csv").write_text("value,class,name\n2,2,white\n3,1,grey\n1002,2,\nothers,0,\n")
    table = ["--label-table", folder / "table.csv"]
    render = [bin_dir / "vnet-train", "--labels", folder / "labels", "--render", "5", "--patch", "24x32x40", "--spacing", "5",
              "-o", folder / "rendered", *table]
    done = subprocess.run([str(w) for w in render], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    rows = (folder / "rendered" / "cases.csv").read_text().splitlines()
    assert len(rows) == 6 and rows[0] == "image,label,split", rows
    for row in rows[1:]:
        scan, label = (nibabel.load(folder / "rendered" / name) for name in row.split(",")[:2])
        voxels, values = np.squeeze(scan.get_fdata()), np.asanyarray(label.dataobj)
        assert voxels.shape == values.shape == (40, 32, 24) and (scan.affine == label.affine).all()
        assert (label.affine == np.diag([5, 5, 5, 1])).all() and nibabel.aff2axcodes(label.affine) == tuple("RAS")
        assert 0 <= voxels.min() < 0.05 and 0.95 < voxels.max() <= 1
        assert set(np.unique(values)) == {0, 2, 3}  # and not 1002
        ml = (values > 0).sum() * 0.125  # a ball of 67 mm is 1260 ml, squeezed, scaled and cropped
        assert 300 < ml < 2500, ml
    done = subprocess.run([str(w) for w in render], capture_output=True, text=True, timeout=60)
    assert done.returncode == 3 and "File exists" in done.stderr, done.stderr
    words = ["-q", "--log", folder / "p.csv", "--validate-every", "12", "--validation", folder / "rendered" / "cases.csv"]
    trained("parts.onnx", *table, *words)
    told = subprocess.run([bin_dir / "vnetc", folder / "parts.onnx", "-o", folder / "plan"], capture_output=True, text=True)
    assert told.returncode == 0 and "classes=3" in told.stdout, told.stderr
    scores = (folder / "p.validation.csv").read_text().splitlines()
    assert len(scores) == 11 and (folder / "p.csv").read_text().startswith("step,loss,dice,rate,gradient_norm,seconds,dice_1,dice_2\n")
    (folder / "table.csv").write_text("value,class\n2,2\n3,1\n")
    refused(4, "the value 502, which the table of labels does not name", "x.onnx", "-q", *table)
    refused(2, "or those of a --label-table", "x.onnx", "-q", "--classes", "3")
    render[render.index(folder / "rendered")] = folder / "refused"
    for status, text, table, words in (
            (5, "values of a file of labels are at most 32767, and no such one is class 2", "2,1\n40000,2\nothers,0\n", []),
            (5, "no value is class 0", "0,1\n2,1\n3,2\nothers,2\n", []),
            (2, "at most 512 along w", "2,1\nothers,0\n", ["--patch", "16x16x520"]),
            (2, "into the folder -o FOLDER: no --log beside it", "2,1\nothers,0\n", ["--log", folder / "x.csv"]),
            (2, "into the folder -o FOLDER: no --expect beside it", "2,1\nothers,0\n", ["--expect", "ml 1 1 2"])):
        (folder / "table.csv").write_text("value,class\n" + table)
        done = subprocess.run([str(w) for w in render + words], capture_output=True, text=True, timeout=60)
        assert done.returncode == status and text in done.stderr and done.stderr.count("\n") == 1, done.stderr
        assert not (folder / "refused").exists()


def sides():
    """A table that tells left from right says which classes belong together, or that they do not."""
    (folder / "sided").mkdir()
    head = nibabel.load(folder / "labels" / "0.nii.gz")
    values = np.asanyarray(head.dataobj).copy()
    values[32:][values[32:] == 2] = 41
    nibabel.save(nibabel.Nifti1Image(values, head.affine), folder / "sided" / "0.nii.gz")
    words = ["-q", "--steps", "1", "--label-table", folder / "table.csv"]
    for table, said in (("value,class\n2,1\n41,2\nothers,0\n", "the classes 1 and 2 are the two sides of one structure (values 2 and 41)"),
                        ("value,class,mirror\n2,1,\n41,2,\n3,3,3\nothers,0,\n", "the column 'mirror' has to say which"),
                        ("value,class,mirror\n2,1,2\n41,2,1\n3,3,\nothers,0,\n", None),
                        ("value,class,mirror\n2,1,1\n41,2,2\nothers,0,\n", None), ("value,class\n2,1\n41,1\nothers,0\n", None),
                        ("value,class\n2,1\n41,ignore\n3,2\nothers,0\n", None), ("value,class\n2,1\n3,2\nothers,0\n", None)):
        (folder / "table.csv").write_text(table)
        if said:
            refused(2, said, "x.onnx", *words, labels="sided")
            continue
        process = train("sided.onnx", *words, labels="sided")
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, (table, err)


def odds():
    """The exported model's odds, and nothing of what is learnt; another one when a finished run is resumed."""
    np.save(folder / "in.npy", np.random.default_rng(1).random((1, 1, 16, 16, 16), np.float32))
    scores = {}
    for name, words in ("plain", []), ("nine", ["--odds", "9"]), ("nine", ["--odds", "0.5", "--resume"]):
        trained(f"{name}.onnx", "-q", *words)
        for command in (["vnetc", folder / f"{name}.onnx", "-o", folder / "plan", "--quiet"],
                        ["vnet-run", folder / "plan", "--tensor", folder / "in.npy", "-o", folder / "out.npy"]):
            subprocess.run([str(bin_dir / command[0]), *map(str, command[1:])], check=True, timeout=60)
        p = np.load(folder / "out.npy").astype(float)
        scores[" ".join(words)] = p[:, 1] / p[:, 0]
    assert np.allclose(scores["--odds 9"], 9 * scores[""], rtol=1e-4)
    assert np.allclose(scores["--odds 0.5 --resume"], 0.5 * scores[""], rtol=1e-4)
    assert trained("nine.onnx", "-q", "--resume") == whole


def ct_windows():
    """A window for CTs: nothing of what is learnt; given late, and taken along by --init. No other rule renders."""
    rule = "percentile 0.5 99.5, ct 0 80"
    model = trained("ct.onnx", "-q", "--intensity", rule)
    assert rule.encode() in model and model != whole
    trained("late.onnx", "-q")
    assert trained("late.onnx", "-q", "--resume", "--intensity", rule) == model
    command = [bin_dir / "vnet-train", "--labels", folder / "labels", "-o", folder / "next.onnx", "--init", folder / "ct.onnx",
               "--steps", "1", "--patch", "16x24x16", "-q"]
    subprocess.run([str(w) for w in command], check=True, timeout=60)
    assert rule.encode() in (folder / "next.onnx").read_bytes()
    refused(2, "with --labels it is 'percentile 0.5 99.5'", "x.onnx", "-q", "--intensity", "percentile 1 99, ct 0 80")
    refused(2, "with --labels it is 'percentile 0.5 99.5'", "x.onnx", "-q", "--intensity", "percentile 0.5 99.5, ct 80 0")


validated()
other_cases_have_a_best_of_their_own()
a_finished_run_is_validated()
validation_is_made_up_for()
options_have_an_effect()
parts()
sides()
odds()
ct_windows()
full_disk()
refused(4, "of another run: that has --width 2, this one --width 4", "whole.onnx", "-q", "--resume", "--width", "4")
refused(4, "--seed 3", "whole.onnx", "-q", "--resume", "--seed", "4")
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
