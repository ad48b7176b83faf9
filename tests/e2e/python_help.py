"""What the checks of run_python.py share: its arguments, plans, a scan, vnet-run. Checks nothing."""
import atexit
import json
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

from metadata import said

SOURCE = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = SOURCE / "tests" / "fixtures" / "scan"
libraries = sys.argv[2]
bin_dir, brain, scan = (pathlib.Path(sys.argv[i]).resolve() for i in (1, 3, 4))
scratch = tempfile.TemporaryDirectory(prefix="vnet-python-")
atexit.register(scratch.cleanup)
folder = pathlib.Path(scratch.name)


def call(*words, **more):
    return subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True, **more).stdout


random = np.random.default_rng(5)
OBLIQUE = np.array([[1.9, 0.1, -0.2, -30], [-0.1, 1.4, 0.1, -20], [0.2, -0.1, 1.0, -10], [0, 0, 0, 1.0]])
SHAPE = (29, 34, 23)
plans = {}


def plan(name):
    """brain; small: an untrained network on patches of 32^3 in RAS; pair: with two channels; scored: small,
    of which label 2 scored 0.25; or one of tests/fixtures/scan."""
    if name not in plans:
        path, model = folder / f"{name}.plan", folder / f"{name}.onnx"
        words = ["--member", "vnet-caffe", "--width", "4", "--classes", "3", "--patch", "32x32x32", "--seed", "1",
                 "--orientation", "RAS", "--intensity", "zscore", "-o", model]
        if name == "brain":
            model = brain
        elif name in ("small", "pair", "scored"):
            call(bin_dir / "vnet-model", *words, *(["--in-channels", "2"] if name == "pair" else []))
            if name == "scored":
                model.write_bytes(model.read_bytes() + said("validation_dice", "2 0.25"))
        else:
            model = FIXTURES / f"{name}.onnx"
        call(bin_dir / "vnetc", model, "-o", path, *(["--topology", "any"] if model.parent == FIXTURES else []))
        plans[name] = path
    return plans[name]


def ball(shape=SHAPE):
    """Integers from 0 to 120, which every type holds: blobs in noise."""
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    blob = 60 * np.exp(-3 * sum((g - 0.2) ** 2 for g in grid)) + 40 * (np.sin(5 * grid[0] + 3 * grid[1]) > 0.3)
    return np.clip(blob + random.integers(0, 20, shape), 0, 120).astype(np.int16)


VALUES = ball()


def vnet_run(name, image, *words):
    """The label map of vnet-run, and its report."""
    nibabel.save(image, folder / "in.nii")
    report = call(bin_dir / "vnet-run", plan(name), folder / "in.nii", "-o", folder / "out.nii", "--json", *words)
    return nibabel.load(folder / "out.nii"), json.loads(report)


def raises(kind, text, act):
    try:
        act()
    except kind as error:
        assert text in str(error), f"'{error}' has no '{text}'"
        return error
    raise AssertionError(f"no {kind.__name__}")


def differ(a, b):
    """That a check can fail: an option that changes nothing would hide that it is not passed on."""
    assert not np.array_equal(a, b), "nothing changed"
