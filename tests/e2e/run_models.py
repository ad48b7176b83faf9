"""Plans by name, and ONNX models in a plan's place.

    run_models.py BIN_DIR
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

bin_dir = pathlib.Path(sys.argv[1]).resolve()
scratch = tempfile.TemporaryDirectory(prefix="vnet-models-")
folder = pathlib.Path(scratch.name)
folder.chmod(0o755)
ENV = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
ENV.pop("VNET_MODELS", None)
NOBODY = 65534


def call(program, *words, env=(), **more):
    program = program if "/" in str(program) else bin_dir / program
    return subprocess.run([str(w) for w in (program, *words)], capture_output=True, text=True, timeout=1800,
                          cwd=folder, env={**ENV, **dict(env)}, **more)


def run(*words, **more):
    done = call("vnet-run", *words, **more)
    assert done.returncode == 0, done.stderr
    return done.stderr


def refused(status, *texts, words, program="vnet-run", **more):
    done = call(program, *words, **more)
    assert done.returncode == status and all(text in done.stderr for text in texts), (done.returncode, done.stderr)
    assert done.stderr.count("\n") == 1 and done.stdout == "", (done.stderr, done.stdout)


def model(path, seed):
    (folder / path).parent.mkdir(exist_ok=True)
    done = call("vnet-model", "--member", "monai", "--width", "4", "--stages", "2", "--classes", "2", "--patch",
                "16x16x16", "--intensity", "zscore", "--seed", seed, "-o", path)
    assert done.returncode == 0, done.stderr


def labels(plan, **more):
    err = run(plan, "scan.nii", "-o", "out.nii", **more)
    return (folder / "out.nii").read_bytes()[352:], err


def source_of(plan):
    done = call("vnet-plan", plan)
    return next(line for line in done.stdout.splitlines() if "vnet.compiled_from" in line)


def names():
    """Folders in order; a plan before a model; a file of this name, but no folder, before both."""
    listed = [line.split() for line in call("vnet-run", "--models").stdout.splitlines()]
    assert [name for name, _ in listed] == ["brain", "brain-parts"], listed
    assert all(path.endswith(f"share/vnet/models/{name}.plan") for name, path in listed), listed
    assert "xxh3" in source_of("brain") and call("vnet-bench", "brain", "--repeat", "1").returncode == 0
    assert call("vnet-plan", "brain", "--isa", "best").returncode == 0
    for path, seed in (("a/one.onnx", 1), ("b/one.onnx", 2), ("b/two.onnx", 2), ("b/brain.onnx", 2)):
        model(path, seed)
    env = {"VNET_MODELS": f"{folder}/none:{folder}/a::{folder}/b"}
    first, second = labels("a/one.onnx")[0], labels("b/two.onnx")[0]
    assert first != second
    (folder / "b" / "two.onnx").write_bytes(b"not looked at")  # for there is two.plan
    assert labels("one", env=env)[0] == first and labels("two", env=env)[0] == second
    rows = [line.split() for line in call("vnet-run", "--models", env=env).stdout.splitlines()]
    assert rows == [["one", f"{folder}/a/one.plan"], ["brain", f"{folder}/b/brain.onnx"],
                    ["two", f"{folder}/b/two.plan"], listed[1]], rows
    (folder / "one").mkdir()
    assert labels("one", env=env)[0] == first
    (folder / "one").rmdir()
    shutil.copy(folder / "b" / "two.plan", folder / "one")
    assert labels("one", env=env)[0] == second
    (folder / "one").unlink()
    refused(3, "no model of this name", "one, brain, two, brain-parts", words=["three", "scan.nii"], env=env)
    refused(3, "No such file", words=["./one", "scan.nii"], env=env)
    refused(3, "no model of this name", words=["../a/one"[5:] + "x", "scan.nii"], env=env)
    for program in ("vnet-plan", "vnet-bench"):
        refused(3, "no model of this name", words=["three"], program=program)


def models_are_compiled_once():
    model("m.onnx", 1)
    first, note = labels("m.onnx")
    assert note == "vnet-run: note: m.onnx: is a model; compiled to m.plan\n", note
    made = (folder / "m.plan").stat().st_mtime_ns
    again, note = labels("m.onnx")
    assert again == first and note == "" and (folder / "m.plan").stat().st_mtime_ns == made
    # Another model of this name: the plan beside it is somebody's, and stays.
    model("m.onnx", 2)
    second, note = labels("m.onnx")
    cached = list((folder / "cache" / "vnet").iterdir())
    assert second != first and len(cached) == 1 and str(cached[0]) in note, note
    assert (folder / "m.plan").stat().st_mtime_ns == made
    assert labels("m.onnx") == (second, "")
    for damage in (b"", cached[0].read_bytes()[:-1], b"VNETPLAN" * 100):
        cached[0].write_bytes(damage)
        assert labels("m.onnx")[0] == second
    # Made by another version.
    plan = (folder / "m.plan").read_bytes()
    assert labels("m.onnx", env={"XDG_CACHE_HOME": "", "HOME": str(folder / "home")})[0] == second
    assert len(list((folder / "home" / ".cache" / "vnet").iterdir())) == 1
    refused(3, "cannot be kept beside it", words=["m.onnx", "scan.nii"], env={"XDG_CACHE_HOME": "", "HOME": ""})
    assert (folder / "m.plan").read_bytes() == plan
    refused(2, "will not be overwritten", words=["m.onnx", "scan.nii", "-o", "out.nii", "--report", "m.onnx"])


def a_folder_that_is_not_ours():
    """A model on a read-only share: its plan goes to the user's cache."""
    model("share/m.onnx", 3)
    (folder / "share").chmod(0o555)
    (folder / "theirs").mkdir()
    who = {}
    if os.geteuid() == 0:
        os.chown(folder / "theirs", NOBODY, NOBODY)
        who = {"user": NOBODY, "group": NOBODY}
    env = {"XDG_CACHE_HOME": str(folder / "theirs")}
    done = call("vnet-run", "share/m.onnx", "scan.nii", "-o", "theirs/out.nii", env=env, **who)
    assert done.returncode == 0 and "theirs/vnet/m-" in done.stderr, done.stderr
    assert [p.name for p in (folder / "share").iterdir()] == ["m.onnx"]
    (folder / "share").chmod(0o755)


def two_at_once():
    model("race.onnx", 4)
    words = [str(bin_dir / "vnet-run"), "race.onnx", "scan.nii", "-q", "-o"]
    runs = [subprocess.Popen([*words, f"race{i}.nii"], cwd=folder, env=ENV, stderr=subprocess.PIPE) for i in range(4)]
    for process in runs:
        _, err = process.communicate(timeout=1800)
        assert process.returncode == 0 and err == b"", err
    assert len({(folder / f"race{i}.nii").read_bytes() for i in range(4)}) == 1
    left = {p.name for p in folder.iterdir() if "race" in p.name and p.name not in ("race.onnx", "race.plan")}
    assert not [name for name in left if name.endswith(".part")], left


def what_cannot_be_compiled():
    (folder / "text.onnx").write_text("this is no model\n" * 50)
    refused(4, "text.onnx", words=["text.onnx", "scan.nii"])
    assert not (folder / "text.plan").exists()
    refused(3, "absent.onnx", words=["./absent.onnx", "scan.nii"])
    os.mkfifo(folder / "pipe.onnx")
    refused(3, "pipe.onnx: not a regular file", words=["pipe.onnx", "scan.nii"])
    model("alone.onnx", 5)
    (folder / "bin").mkdir()
    shutil.copy(bin_dir / "vnet-run", folder / "bin")
    refused(2, "vnetc MODEL.onnx -o FILE.plan", program=folder / "bin" / "vnet-run", words=["alone.onnx", "scan.nii"],
            env={"PATH": str(folder / "bin")})
    on_path = call(folder / "bin" / "vnet-run", "alone.onnx", "scan.nii", env={"PATH": str(bin_dir)})
    assert on_path.returncode == 0, on_path.stderr


values = np.random.default_rng(1).normal(50, 20, (17, 16, 15)).astype(np.float32)
nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / "scan.nii")
for test in (names, models_are_compiled_once, a_folder_that_is_not_ours, two_at_once, what_cannot_be_compiled):
    test()
    print("ok  ", test.__name__.replace("_", " "))
