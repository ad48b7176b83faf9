"""vnet-train over MPI ranks: the losses of one process, with and without BatchNorm; a rank that answers
no more, and one that is gone.

    run_train_ranks.py BIN_DIR MPIRUN
"""
import csv
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np

bin_dir, mpirun = pathlib.Path(sys.argv[1]), sys.argv[2]
scratch = tempfile.TemporaryDirectory(prefix="vnet-ranks-")
folder = pathlib.Path(scratch.name)
os.environ["ASAN_OPTIONS"] = "detect_leaks=0"  # OpenMPI's own; one process is watched in run_train.py
root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
OPTIONS = ["--data", folder / "cases.csv", "--width", "2", "--stages", "2", "--patch", "16x16x16", "--batch", "4",
           "--seed", "3", "--threads", "1", "-q"]


def command(ranks, output, *words):
    start = [mpirun, *root, "--oversubscribe", "-n", ranks] if ranks > 1 else []
    return [str(w) for w in (*start, bin_dir / "vnet-train", "-o", folder / output, *OPTIONS, *words)]


def losses(ranks, *member):
    words = ["--steps", "50", "--every", "50", "--member", *member, "--log", folder / "log.csv"]
    done = subprocess.run(command(ranks, "m.onnx", *words), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return np.array([float(row["loss"]) for row in csv.DictReader(open(folder / "log.csv"))])


def data_make():
    x, y, z = np.ogrid[-12:12, -12:12, -12:12]
    label = (x**2 + y**2 + z**2 < 60).astype(np.uint8)
    image = (80 * label + np.random.default_rng(1).normal(0, 20, label.shape)).astype(np.float32)
    for name, voxels in (("scan", image), ("label", label)):
        nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / f"{name}.nii.gz")
    (folder / "cases.csv").write_text("image,label,split\nscan.nii.gz,label.nii.gz,train\n"
                                      "scan.nii.gz,label.nii.gz,validation\n")


def ranks_are_one_process():
    dropped = ("monai", "--stages", "3", "--dropout", "0.3")
    for member in (("vnet-caffe",), ("monai",), dropped):
        one = losses(1, *member)
        assert len(one) == 50 and one[-5:].mean() < one[:5].mean()
        for ranks in (2,) if member is dropped else (2, 4):
            apart = np.abs(losses(ranks, *member) - one).max()
            print(f"{' '.join(member)}, {ranks} ranks: losses differ by {apart:.1e} at most")
            assert apart < 1e-5, (member, ranks, apart)


def rank_lost(number):
    """Within seconds a sentence names rank 1; the last checkpoint goes on in one process."""
    for path in folder.glob("lost.*"):
        path.unlink()
    words = ["--steps", "1000000", "--every", "2", "--optimizer", "sgd", "--timeout", "3", "--batch", "3"]
    process = subprocess.Popen(command(3, "lost.onnx", *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)
    deadline = time.monotonic() + 60
    while not (folder / "lost.onnx.ckpt").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
        time.sleep(0.01)
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            ours = str(folder / "lost.onnx").encode() in (entry / "cmdline").read_bytes()
            if ours and b"OMPI_COMM_WORLD_RANK=1\0" in (entry / "environ").read_bytes():
                os.kill(int(entry.name), number)
        except OSError:
            continue
    text, _ = process.communicate(timeout=120)
    assert process.returncode != 0 and "rank 1" in text, text
    assert number != signal.SIGSTOP or "no word from rank 1" in text, text
    words = words[2:] + ["--steps", "1000000", "--resume"]
    process = subprocess.Popen(command(1, "lost.onnx", *words, "--log", folder / "lost.csv"), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (folder / "lost.csv").exists() or len((folder / "lost.csv").read_text().splitlines()) < 3:
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 7 and "go on with --resume" in err, err


def lost_ranks():
    rank_lost(signal.SIGSTOP)
    rank_lost(signal.SIGKILL)


def rank_0_validates():
    words = ["--steps", "4", "--validate-every", "2", "--log", folder / "v.csv", "--timeout", "20"]
    done = subprocess.run(command(2, "v.onnx", *words), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len((folder / "v.validation.csv").read_text().splitlines()) == 3


def cases_on_disk(ranks, limit):
    """How many cases of each rank lie in nameless files, while it trains."""
    words = ["--steps", "1000000", "--every", "2", "--cache-limit", limit, "--data", folder / "four.csv"]
    (folder / "disk.onnx.ckpt").unlink(missing_ok=True)
    process = subprocess.Popen(command(ranks, "disk.onnx", *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)
    deadline = time.monotonic() + 60
    while not (folder / "disk.onnx.ckpt").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.stdout.read()
        time.sleep(0.01)
    found = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if str(bin_dir / "vnet-train").encode() == (entry / "cmdline").read_bytes().split(b"\0")[0]:
                mapped = (entry / "maps").read_text().splitlines()
                if str(folder / "disk.onnx").encode() in (entry / "cmdline").read_bytes():
                    found.append(sum("disk.onnx.ckpt.cases" in line for line in mapped))
        except OSError:
            continue
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    return sorted(found)


def ranks_share_the_cache():
    (folder / "four.csv").write_text("image,label\n" + 4 * "scan.nii.gz,label.nii.gz\n")
    case = 24**3 * 5  # a float and a label for each voxel
    assert cases_on_disk(1, 4 * case) == [0] and cases_on_disk(1, 4 * case - 1) == [1]
    assert cases_on_disk(2, 4 * case) == [2, 2] and cases_on_disk(2, 8 * case) == [0, 0]


def unequal_shares():
    done = subprocess.run(command(3, "no.onnx", "--steps", "2"), capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and "--batch 4 cannot be shared equally by 3 ranks" in done.stderr, done.stderr


data_make()
for test in (ranks_are_one_process, lost_ranks, rank_0_validates, ranks_share_the_cache, unequal_shares):
    start = time.monotonic()
    test()
    print(f"{test.__name__.replace('_', ' ')}: {time.monotonic() - start:.1f} s", flush=True)
