"""The Python package against the programs: the same labels, whatever way the voxels come.

    run_python.py BIN_DIR LIBRARIES BRAIN.onnx SCAN [CHECK …]

LIBRARIES: the folders of the three shared libraries, as in PATH; or a wheel, or "build" for a wheel to
be built, which is installed in a virtual environment and used from another folder. SCAN is Debian's
mricron-data's; exits with 77 (skipped) when it is not there. With names, runs these checks only.
"""
import ctypes
import gc
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
FIXTURES = SOURCE / "tests" / "fixtures" / "scan"
bin_dir, libraries, brain, scan = sys.argv[1:5]
bin_dir, brain, scan = (pathlib.Path(p).resolve() for p in (bin_dir, brain, scan))
scratch = tempfile.TemporaryDirectory(prefix="vnet-python-")
folder = pathlib.Path(scratch.name)


def call(*words, **more):
    return subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True, **more).stdout


def again_from_wheel(wheel):
    """Installs the wheel and runs this file with the Python that has it, far from the sources."""
    if wheel == "build":
        call(SOURCE / "runtime" / "python" / "build-wheel.sh", folder / "dist")
        wheel, = (folder / "dist").glob("*.whl")
    wheel = pathlib.Path(wheel).resolve()
    assert re.fullmatch(r"vnet-[0-9.]+-py3-none-linux_\w+\.whl", wheel.name), wheel.name
    call(sys.executable, "-m", "venv", "--system-site-packages", folder / "venv")
    python = folder / "venv" / "bin" / "python"
    call(python, "-m", "pip", "install", "--no-index", "--no-deps", wheel)
    env = {k: v for k, v in os.environ.items()
           if k not in ("PYTHONPATH", "VNET_LIBRARY_DIR", "LD_LIBRARY_PATH")}
    words = [python, __file__, bin_dir, "installed", brain, scan, *sys.argv[5:]]
    return subprocess.run([str(w) for w in words], env=env, cwd=folder).returncode


if not scan.exists():
    sys.exit(77)
if libraries == "build" or libraries.endswith(".whl"):
    sys.exit(again_from_wheel(libraries))
if libraries != "installed":
    os.environ["VNET_LIBRARY_DIR"] = os.pathsep.join(
        str(pathlib.Path(p).resolve()) for p in libraries.split(os.pathsep))
    os.environ["PYTHONPATH"] = str(SOURCE / "runtime" / "python")
    sys.path.insert(0, os.environ["PYTHONPATH"])

import nibabel  # noqa: E402
import numpy as np  # noqa: E402
import vnet  # noqa: E402
from vnet import _abi, image as vnet_image  # noqa: E402

random = np.random.default_rng(5)
OBLIQUE = np.array([[1.9, 0.1, -0.2, -30], [-0.1, 1.4, 0.1, -20], [0.2, -0.1, 1.0, -10], [0, 0, 0, 1.0]])
SHAPE = (29, 34, 23)
plans = {}


def plan(name):
    """brain; small: an untrained network on patches of 32^3 in RAS; pair: with two channels; or one
    of tests/fixtures/scan."""
    if name not in plans:
        path, model = folder / f"{name}.plan", folder / f"{name}.onnx"
        words = ["--member", "vnet-caffe", "--width", "4", "--classes", "3", "--patch", "32x32x32", "--seed", "1",
                 "--orientation", "RAS", "--intensity", "zscore", "-o", model]
        if name == "brain":
            model = brain
        elif name in ("small", "pair"):
            call(bin_dir / "vnet-model", *words, *(["--in-channels", "2"] if name == "pair" else []))
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


# ---- the library ----


def structs_are_the_compilers():
    lines = []
    for struct in _abi.STRUCTS:
        name = f"struct {struct.__name__}"
        lines.append(f'printf("%zu\\n", sizeof({name}));')
        lines += [f'printf("%zu %zu\\n", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));'
                  for field, _ in struct._fields_]
    lines += [f'printf("%d\\n", {name});' for names in _abi.ENUMS for name in names]
    (folder / "layout.c").write_text('#include <stdio.h>\n#include "vnet_segment.h"\nint main(void) {\n'
                                     + "\n".join(lines) + "\nreturn 0; }\n")
    call("cc", f"-I{SOURCE}/runtime/include", f"-I{SOURCE}/schemas", folder / "layout.c", "-o", folder / "layout")
    want = call(folder / "layout").splitlines()
    have = []
    for struct in _abi.STRUCTS:
        have.append(f"{ctypes.sizeof(struct)}")
        have += [f"{getattr(struct, field).offset} {getattr(struct, field).size}" for field, _ in struct._fields_]
    have += [f"{value}" for names in _abi.ENUMS for value in range(len(names))]
    assert have == want, [(line, h, w) for line, h, w in zip(lines, have, want) if h != w]
    # Every struct and every field of the headers is there.
    headers = "".join((SOURCE / p).read_text() for p in ("runtime/include/vnet.h", "runtime/include/vnet_segment.h"))
    known = {struct.__name__: struct for struct in _abi.STRUCTS}
    for name, body in re.findall(r"^struct (\w+) \{\n(.*?)^\};", headers, re.S | re.M):
        if name == "vn_buffer":  # in-place tensors, which the package does not offer
            continue
        body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
        fields = re.findall(r"(\w+)(?:\[\d\])*[,;]", body)
        assert [field for field, _ in known[name]._fields_] == fields, (name, fields)


def libraries_are_the_right_ones():
    maps = pathlib.Path("/proc/self/maps").read_text()
    loaded = {pathlib.Path(p).parent for p in re.findall(r"(/\S*/libvnet\S*)", maps)}
    if libraries == "installed":
        home = pathlib.Path(vnet.__file__).parent
        assert folder not in home.parents and SOURCE not in home.parents, home
        assert loaded == {home / "_libs"}, loaded
        for library in (home / "_libs").iterdir():
            dynamic = call("objdump", "-p", library)
            paths = re.findall(r"R(?:UN)?PATH\s+(\S+)", dynamic)
            assert set(paths) <= {"$ORIGIN"} and "XNNPACK" not in dynamic, dynamic
            assert call("sh", "-c", f"env -i ldd {library}").count("not found") == 0
        assert {p.name.split(".")[0] for p in (home / "_libs").iterdir()} == {
            "libvnet", "libvnet-segment", "libvnet-nifti"}
        assert (home / "py.typed").exists()
    else:
        assert loaded <= {pathlib.Path(p) for p in os.environ["VNET_LIBRARY_DIR"].split(os.pathsep)}, loaded
    # Another version, no library, and one that is none.
    source = ('#include "vnet_segment.h"\nconst char *vn_version(void) { return "0.9.0"; }\n'
              + "".join(f"void {f}(void) {{}}\n" for fs in _abi.FUNCTIONS.values() for f in fs if f != "vn_version"))
    other = folder / "other"
    for name in ("wrong", "empty", "damaged"):
        (other / name).mkdir(parents=True)
    source = source.replace('#include "vnet_segment.h"\n', "")
    (other / "wrong.c").write_text(source)
    for library in ("libvnet", "libvnet-segment"):
        call("cc", "-w", "-shared", "-fPIC", other / "wrong.c", "-o", other / "wrong" / f"{library}.so.0.2")
        (other / "damaged" / f"{library}.so.0.2").write_bytes(b"no library")
    for name, text in (("wrong", "is vnet 0.9.0"), ("empty", "which is not in"), ("damaged", "cannot load")):
        done = subprocess.run([sys.executable, "-c", "import vnet"], capture_output=True, text=True,
                              env={**os.environ, "VNET_LIBRARY_DIR": str(other / name)})
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("ImportError: ") and text in last, last


# ---- the same labels ----


def brain_is_vnet_runs():
    image, seen = nibabel.load(scan), []
    out = folder / "head.seg.nii.gz"
    report = json.loads(call(bin_dir / "vnet-run", plan("brain"), scan, "-o", out, "--json"))
    want = nibabel.load(out)
    with vnet.open(plan("brain")) as model:
        result = model.segment(image, progress=seen.append)
        voxels = result.labels.size  # vnet-run adds the scan as float32, and its labels
        assert model.memory(image) + 5 * voxels == report["memory_bytes"], (model.memory(image), report)
    assert np.array_equal(result.labels, np.asanyarray(want.dataobj))
    assert seen == sorted(seen) and 0 <= seen[0] < 0.2 and seen[-1] == 1 and len(seen) > 5, seen
    assert result.names[1] in result.volumes_ml and len(result.volumes_ml) == len(result.names) - 1
    for entry, have in zip(report["labels"], result.measures):
        assert have.voxels == entry["voxels"] > 0
        assert np.allclose(have.ml, entry["ml"]) and np.allclose(have.centroid_mm, entry["centroid_mm"], atol=1e-3)
        assert np.allclose([have.mean, have.sd], [entry["mean"], entry["sd"]])
    assert result.volumes_ml[result.names[1]] == result.measures[1].ml
    assert result.report.windows == report["windows"] and result.report.network_s > 0
    nibabel.save(result.to_nibabel(), folder / "mine.nii.gz")
    mine = nibabel.load(folder / "mine.nii.gz")
    assert np.array_equal(np.asanyarray(mine.dataobj), result.labels) and mine.get_data_dtype() == np.uint8
    compare_headers(mine.header, want.header)
    print(f"  {result.volumes_ml}, {result.report.network_s:.1f} s in the network", flush=True)


def compare_headers(have, want):
    for field in want.keys():
        if field not in ("descrip", "regular", "extents"):  # who wrote it
            assert np.array_equal(have[field], want[field], equal_nan=have[field].dtype.kind == "f"), (
                field, have[field], want[field])


def options_are_passed_on():
    image = nibabel.Nifti1Image(ball((50, 44, 30)), OBLIQUE)
    plain = None
    with vnet.open(plan("small"), threads=2) as model:
        assert model.threads == 2 and model.patch == (32, 32, 32) and model.orientation == "RAS"
        assert model.channels == 1 and model.intensity == "zscore" and model.spacing_mm is None
        for words, options in (
                ((), {}),
                (("--overlap", "0.25"), {"overlap": 0.25}),
                (("--overlap", "0"), {"overlap": 0}),
                (("--weighting", "constant"), {"weighting": "constant"}),
                (("--mirror", "dw"), {"mirror": "dw"}),
                (("--mirror", "h"), {"mirror": "h"}),
                (("--largest-component",), {"largest_component": True}),
                (("--min-volume-ml", "0.5"), {"min_volume_ml": 0.5})):
            want, report = vnet_run("small", image, *words)
            result = model.segment(image, **options)
            assert np.array_equal(result.labels, np.asanyarray(want.dataobj)), words
            assert len(np.unique(result.labels)) > 1
            assert result.report.windows == report["windows"]
            if plain is None:
                plain = result.labels
            else:
                differ(plain, result.labels)
        compare_headers(model.segment(image).to_nibabel().header, nibabel.load(folder / "out.nii").header)
        # Windows of background, and voxels that are not finite.
        empty = np.pad(np.full((20, 20, 20), 9, np.float32), ((0, 60), (0, 0), (0, 0)))
        few, all_ = (model.segment(empty, np.eye(4), every_window=e).report for e in (False, True))
        assert few.skipped > 0 == all_.skipped and few.windows == all_.windows, (few, all_)
        empty[3, 4, 5] = np.nan
        raises(vnet.FormatError, "NaN", lambda: model.segment(empty, np.eye(4)))
        assert model.segment(empty, np.eye(4), replace_nan=True).report.replaced_voxels == 1


def layouts_are_one():
    want = np.asanyarray(vnet_run("small", nibabel.Nifti1Image(VALUES, OBLIQUE))[0].dataobj)
    room = np.zeros((60, 40, 50, 2), np.int16)
    room[1:59:2, 3:37, 4:50:2, 1] = VALUES
    record = np.zeros(SHAPE, [("odd", "u1"), ("value", "i2")])
    record["value"] = VALUES
    reverse = np.ascontiguousarray(VALUES[::-1, ::-1, ::-1])
    views = {
        "C": np.ascontiguousarray(VALUES), "F": np.asfortranarray(VALUES), "reversed": reverse[::-1, ::-1, ::-1],
        "permuted": np.ascontiguousarray(VALUES.transpose(1, 2, 0)).transpose(2, 0, 1),
        "within a larger one": room[1:59:2, 3:37, 4:50:2, 1], "unaligned": record["value"],
        "with a fourth axis": VALUES[..., None], "a subclass": VALUES.view(np.memmap)}
    with vnet.open(plan("small")) as model:
        for name, view in views.items():
            seen = vnet_image.image_of(view, OBLIQUE, "RAS", True)
            assert np.shares_memory(seen.voxels, view), f"{name}: a copy"
            result = model.segment(view, OBLIQUE)
            assert np.array_equal(result.labels, want), name
        assert np.array_equal(model.segment(VALUES, OBLIQUE[:3]).labels, want)
        differ(model.segment(VALUES[::-1], OBLIQUE).labels, want)
        # An image and its mirrored view with the mirrored affine are one image.
        turned = OBLIQUE.copy()
        turned[:3, 3] += (SHAPE[1] - 1) * OBLIQUE[:3, 1]
        turned[:3, 1] *= -1
        assert np.array_equal(model.segment(VALUES[:, ::-1], turned).labels, want[:, ::-1])
        # One voxel for all: its strides are all 0, which the library takes for dense.
        one = np.broadcast_to(np.float32(7), (9, 9, 9))
        raises(vnet.UnsupportedError, "every voxel", lambda: model.segment(one, np.eye(4)))
        for out in (np.zeros(SHAPE, np.uint8), np.zeros((*SHAPE[::-1], 3), np.uint16)[..., 1].transpose(2, 1, 0),
                    np.zeros(SHAPE, np.uint8, order="F")[::-1, :, ::-1]):
            result = model.segment(VALUES, OBLIQUE, out=out)
            assert result.labels is out and np.array_equal(out, want)


def types_are_one():
    with vnet.open(plan("small")) as model:
        want = model.segment(VALUES, OBLIQUE).labels
        for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"):
            for order in "<>":
                result = model.segment(VALUES.astype(order + kind), OBLIQUE)
                assert np.array_equal(result.labels, want), order + kind
        low = model.segment((VALUES > 50).astype(np.uint8), OBLIQUE).labels
        differ(low, want)
        assert np.array_equal(model.segment(VALUES > 50, OBLIQUE).labels, low)
        negative = VALUES.astype(np.int16) - 60
        want = np.asanyarray(vnet_run("small", nibabel.Nifti1Image(negative, OBLIQUE))[0].dataobj)
        for kind in ("i1", "i2", "i4", "i8", "f2", "f4", "f8"):
            assert np.array_equal(model.segment(negative.astype(kind), OBLIQUE).labels, want), kind


def worlds_are_one():
    lps = np.diag([-1, -1, 1, 1]) @ OBLIQUE
    with vnet.open(plan("small")) as model:
        want = model.segment(VALUES, OBLIQUE)
        have = model.segment(VALUES, lps, world="LPS")
        assert np.array_equal(have.labels, want.labels)
        assert np.allclose(np.array(have.measures[1].centroid_mm) * [-1, -1, 1], want.measures[1].centroid_mm)
        differ(model.segment(VALUES, lps).labels, want.labels)
        for result in (have, want):
            image = result.to_nibabel()
            assert np.allclose(image.affine, OBLIQUE) and image.header["sform_code"] == 1
        raises(vnet.UnsupportedError, "", lambda: model.segment(VALUES, OBLIQUE, world="UNKNOWN"))
    with vnet.open(plan("levels")) as model:  # trained in no orientation
        image = model.segment(VALUES, OBLIQUE, world="UNKNOWN").to_nibabel()
        assert image.header["sform_code"] == image.header["qform_code"] == 0
        assert np.allclose(image.header.get_zooms(), np.sqrt((OBLIQUE[:3, :3] ** 2).sum(0)))


def files_are_nibabels():
    def saved(image, name="saved.nii"):
        nibabel.save(image, folder / name)
        return nibabel.load(folder / name)

    turn = np.linalg.qr(OBLIQUE[:3, :3])[0]
    rigid = np.eye(4)
    rigid[:3, :3] = turn * np.sign(np.diag(turn)) * [2, 1.5, 1]
    qform = nibabel.Nifti1Image(VALUES, None)
    qform.set_qform(rigid, 1)
    micron = nibabel.Nifti1Image(VALUES, OBLIQUE @ np.diag([1000, 1000, 1000, 1]))
    micron.header.set_xyzt_units("micron")
    scaled = nibabel.Nifti1Image(VALUES, OBLIQUE)
    scaled.header.set_slope_inter(0.37, -11)
    kinds = {
        "NIfTI-1": nibabel.Nifti1Image(VALUES, OBLIQUE), "NIfTI-2": nibabel.Nifti2Image(VALUES, OBLIQUE),
        "4D": nibabel.Nifti1Image(VALUES[..., None], OBLIQUE), "qform": qform, "micron": micron, "scaled": scaled,
        "big-endian": nibabel.Nifti1Image(VALUES.astype(">i2"), OBLIQUE, nibabel.Nifti1Header(endianness=">")),
        "float64": nibabel.Nifti1Image(VALUES.astype(float), OBLIQUE)}
    with vnet.open(plan("small")) as model, vnet.open(plan("levels")) as levels:
        for name, image in kinds.items():
            loaded = saved(image)
            want = nibabel.load(folder / "out.nii") if vnet_run("small", loaded) else None
            result = model.segment(loaded)
            assert np.array_equal(result.labels, np.asanyarray(want.dataobj).reshape(SHAPE)), name
            mine = result.to_nibabel()
            assert mine.shape == want.shape and type(mine) is type(want), name
            nibabel.save(mine, folder / "mine.nii")
            compare_headers(nibabel.load(folder / "mine.nii").header, want.header.as_byteswapped(mine.header.endianness))
        # Stored voxels are taken as they are, scaling apart: zscore hides it, levels does not.
        loaded = saved(scaled)
        assert vnet_image.image_of(loaded, None, "RAS", True).voxels.dtype == np.int16
        differ(levels.segment(loaded).labels, levels.segment(VALUES, OBLIQUE).labels)
        assert np.array_equal(levels.segment(loaded).labels, levels.segment(loaded.get_fdata(), OBLIQUE).labels)
        # A format whose proxy scales by itself, and one that is not NIfTI.
        mgh = saved(nibabel.MGHImage(VALUES, OBLIQUE.astype("f4")), "saved.mgz")
        result = model.segment(mgh)
        assert np.array_equal(result.labels, model.segment(VALUES, OBLIQUE).labels)
        assert np.allclose(result.to_nibabel().affine, OBLIQUE, atol=1e-4)
        # What does not say how it lies.
        lost = nibabel.Nifti1Image(VALUES, None)
        raises(vnet.UnsupportedError, "", lambda: model.segment(saved(lost)))
        raises(vnet.UnsupportedError, "", lambda: model.segment(lost))
        both = nibabel.Nifti1Image(VALUES, OBLIQUE)
        both.set_qform(np.diag([-1, 1, 1, 1]), 1)
        raises(vnet.UnsupportedError, "", lambda: model.segment(saved(both)))
        # Memory is known without voxels.
        loaded = saved(kinds["NIfTI-1"], "gone.nii")
        (folder / "gone.nii").unlink()
        assert model.memory(loaded) == model.memory(VALUES, OBLIQUE) > model.memory_bytes > 0


def probabilities_are_vnet_runs():
    image = nibabel.Nifti1Image(VALUES, OBLIQUE)
    with vnet.open(plan("small")) as model:
        for kind in ("float32", "uint16"):
            vnet_run("small", image, "--scores", folder / "scores.nii", "--scores-type", kind)
            want = nibabel.load(folder / "scores.nii")
            result = model.segment(image, probabilities=kind)
            have = result.probabilities
            assert have.shape == (3, *SHAPE) and have.dtype == kind
            nibabel.save(result.probabilities_to_nibabel(), folder / "mine.nii")
            mine = nibabel.load(folder / "mine.nii")
            assert np.array_equal(np.asanyarray(mine.dataobj), np.asanyarray(want.dataobj))
            compare_headers(mine.header, want.header)
            if kind == "float32":
                assert np.array_equal(have.argmax(0), result.labels)
                assert np.abs(have.sum(0) - 1).max() < 1e-5
        assert model.segment(image).probabilities is None
        raises(vnet.ArgumentError, "not asked for", model.segment(image).probabilities_to_nibabel)


def channels_are_a_list():
    with vnet.open(plan("small")) as model:
        assert np.array_equal(model.segment([VALUES], OBLIQUE).labels, model.segment(VALUES, OBLIQUE).labels)
        raises(vnet.ArgumentError, "no image", lambda: model.segment([], OBLIQUE))
        raises(vnet.Error, "", lambda: model.segment([VALUES, VALUES], OBLIQUE))
    try:
        vnet.open(plan("pair")).close()
    except vnet.UnsupportedError as error:
        print(f"  the rest not checked: {error}")
        return
    with vnet.open(plan("pair")) as model:
        assert model.channels == 2
        other = np.asfortranarray(ball(), np.float32)
        a = model.segment([VALUES, other], OBLIQUE)
        b = model.segment([nibabel.Nifti1Image(VALUES, OBLIQUE), nibabel.Nifti1Image(other, OBLIQUE)])
        assert np.array_equal(a.labels, b.labels) and len(np.unique(a.labels)) > 1
        differ(a.labels, model.segment([other, VALUES], OBLIQUE).labels)
        for wrong in (VALUES, [VALUES], [VALUES] * 3, [VALUES, other[1:]]):
            raises(vnet.Error, "", lambda: model.segment(wrong, OBLIQUE))


def tensors_are_vnet_runs():
    x = random.standard_normal((1, 1, 32, 32, 32)).astype(np.float32)
    np.save(folder / "x.npy", x)
    call(bin_dir / "vnet-run", plan("small"), "--tensor", folder / "x.npy", "-o", folder / "y.npy")
    seen = []
    with vnet.Plan(plan("small")) as file, vnet.Exec(file) as network:
        y, = network.run([x], progress=seen.append)
        assert np.array_equal(y, np.load(folder / "y.npy")) and seen[-1] == 1 and seen == sorted(seen)
        assert np.array_equal(network.run([x.transpose(0, 1, 4, 3, 2).copy().transpose(0, 1, 4, 3, 2)])[0], y)
        assert file.inputs[0].shape == x.shape and file.outputs[0].shape == y.shape
        assert file.meta("vnet.orientation") == "RAS" and file.meta("vnet.nothing") is None
        assert len(network.steps) > 5 and sum(s.last_ms for s in network.steps) > 0
        assert vnet.Exec.measure(file).arena_bytes == network.info.arena_bytes > 0
        raises(vnet.ArgumentError, "shape", lambda: network.run([x[0]]))
        raises(vnet.ArgumentError, "2 arrays", lambda: network.run([x, x]))
        raises(vnet.ArgumentError, "complex", lambda: network.run([x.astype(complex)]))
        with vnet.Plan(plan("small").read_bytes()) as memory, vnet.Exec(memory, threads=1) as one:
            assert memory.checksum == file.checksum and np.array_equal(one.run([x])[0], y)
        file.close()  # takes effect with network's
        assert np.array_equal(network.run([x])[0], y)
        raises(vnet.ArgumentError, "closed", lambda: vnet.Exec(file))
    with vnet.Plan(plan("levels_argmax")) as file, vnet.Exec(file) as network:
        assert network.run([np.full(file.inputs[0].shape, 2.0)])[0].dtype == np.int64
        assert (network.run([np.full(file.inputs[0].shape, 2.0)])[0] == 2).all()


# ---- stopping ----


def stopping_is_quick():
    image = nibabel.load(scan)
    with vnet.open(plan("brain")) as model:
        want = model.segment(image).labels

        def stopped(kind, **options):
            begin = time.monotonic()
            raises(kind, "", lambda: model.segment(image, mirror="dhw", **options))
            return time.monotonic() - begin

        pressed, limit = [], 0.3  # of a second, on a machine that others use, too

        class Stop(Exception):
            pass

        def boom(fraction):
            if fraction > 0.3:
                pressed.append(time.monotonic())
                raise Stop

        stopped(Stop, progress=boom)
        assert time.monotonic() - pressed[0] < limit, "an exception in progress"
        cancel = vnet.Cancel()

        def press():
            pressed.append(time.monotonic())
            cancel.press()

        timer = threading.Timer(0.7, press)
        timer.start()
        error = raises(vnet.CancelledError, "", lambda: model.segment(image, mirror="dhw", cancel=cancel))
        assert time.monotonic() - pressed[1] < limit and str(error), "cancel"
        assert cancel.pressed and stopped(vnet.CancelledError, cancel=cancel) < limit, "pressed before"
        assert np.array_equal(model.segment(image, cancel=vnet.Cancel()).labels, want)
    raises(vnet.CancelledError, "", lambda: vnet.open(plan("brain"), cancel=cancel))
    raises(Stop, "", lambda: vnet.open(plan("brain"), progress=boom))
    seen = []
    vnet.open(plan("brain"), progress=seen.append).close()
    assert seen == sorted(seen) and seen[-1] == 1 and seen[0] < 0.5, seen


INTERRUPTED = """
import signal, sys, time, nibabel, numpy, vnet
image = nibabel.load(sys.argv[2])
with vnet.open(sys.argv[1]) as model:
    for how in ("with progress", "without"):
        print("running", flush=True)
        try:
            model.segment(image, mirror="dhw", progress=(lambda f: None) if how == "with progress" else None)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        else:
            print("not interrupted", flush=True)
    numpy.save(sys.argv[3], model.segment(image).labels)
    print("right", flush=True)
    model.segment(image, mirror="dhw")
"""


def control_c_is_quick():
    process = subprocess.Popen([sys.executable, "-c", INTERRUPTED, plan("brain"), scan, folder / "again.npy"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    took = []
    for _ in range(2):
        assert process.stdout.readline() == "running\n"
        time.sleep(0.7)
        start = time.monotonic()
        process.send_signal(2)
        assert process.stdout.readline() == "interrupted\n"
        took.append(time.monotonic() - start)
    assert process.stdout.readline() == "right\n"
    time.sleep(0.3)
    process.send_signal(2)  # and not caught: Python's own end
    _, err = process.communicate(timeout=30)
    assert process.returncode in (-2, 130) and err.strip().endswith("KeyboardInterrupt"), err
    with vnet.open(plan("brain")) as model:
        assert np.array_equal(np.load(folder / "again.npy"), model.segment(nibabel.load(scan)).labels)
    print(f"  Ctrl-C took {took[0] * 1000:.0f} and {took[1] * 1000:.0f} ms", flush=True)
    assert max(took) < 0.3, took


def threads_are_kept_apart():
    image = nibabel.load(scan)
    with vnet.Plan(plan("brain")) as shared:
        models = [vnet.Segmenter(shared, threads=1) for _ in range(2)]
    found, ticks, busy = [None, None], 0, []
    started = threading.Event()

    def one(i):
        found[i] = models[i].segment(image, mirror="h", progress=lambda f: started.set()).labels

    threads = [threading.Thread(target=one, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    started.wait()
    for act in (lambda: models[0].segment(image), models[0].close, lambda: models[0].memory(image)):
        busy.append(raises(vnet.BusyError, "in use", act))
    while any(thread.is_alive() for thread in threads):
        time.sleep(0.005)
        ticks += 1
    assert ticks > 50, f"the lock was held: {ticks}"
    assert np.array_equal(*found)
    raises(vnet.BusyError, "in use", lambda: models[0].segment(image, progress=lambda f: models[0].segment(image)))
    for model in models:
        model.close()
        model.close()
    raises(vnet.ArgumentError, "closed", lambda: models[0].segment(image))
    assert "closed" in repr(models[0])


# ---- refusals, leaks ----


def errors_are_classes():
    builtin = {vnet.ArgumentError: ValueError, vnet.BusyError: RuntimeError, vnet.FileError: OSError,
               vnet.FormatError: ValueError, vnet.UnsupportedError: ValueError, vnet.OutOfMemoryError: MemoryError,
               vnet.InternalError: RuntimeError, vnet.CancelledError: vnet.Error}
    for kind, base in builtin.items():
        assert issubclass(kind, vnet.Error) and issubclass(kind, base), kind
    assert [k.status for k in (vnet.InternalError, vnet.ArgumentError, vnet.FileError, vnet.FormatError,
                               vnet.UnsupportedError, vnet.OutOfMemoryError, vnet.CancelledError)] == list(range(1, 8))
    damaged = bytearray(plan("small").read_bytes())
    raises(vnet.FileError, "absent.plan", lambda: vnet.open(folder / "absent.plan"))
    raises(vnet.FormatError, "not a plan", lambda: vnet.open(scan))
    raises(vnet.FormatError, "truncated", lambda: vnet.open(bytes(damaged[:-1])))
    damaged[-20] ^= 255
    raises(vnet.FormatError, "damaged", lambda: vnet.open(damaged))
    raises(vnet.FormatError, "", lambda: vnet.open(b""))
    raises(vnet.ArgumentError, "null byte", lambda: vnet.open("a\0b"))
    raises(vnet.UnsupportedError, "ArgMax", lambda: vnet.open(plan("levels_argmax")))
    raises(vnet.ArgumentError, "avx9", lambda: vnet.open(plan("small"), isa="avx9"))
    for threads in (0, -1, 10000):
        raises(vnet.ArgumentError, "", lambda: vnet.open(plan("small"), threads=threads))
    raises(vnet.OutOfMemoryError, "limit", lambda: vnet.open(plan("small"), memory_limit=1000))
    raises(vnet.ArgumentError, "memory_limit", lambda: vnet.open(plan("small"), memory_limit=1 << 64))
    with vnet.open(plan("small"), isa="portable") as model:
        assert model.isa == "portable"
        need = model.memory(VALUES, OBLIQUE)
        bad = np.array(OBLIQUE)
        bad[0, 0] = np.nan
        flat = np.diag([1, 1, 0, 1.0])
        for text, act in (
                ("affine", lambda: model.segment(VALUES)), ("4x4", lambda: model.segment(VALUES, np.eye(3))),
                ("numbers", lambda: model.segment(VALUES, "affine")), ("", lambda: model.segment(VALUES, bad)),
                ("", lambda: model.segment(VALUES, flat)), ("three axes", lambda: model.segment(VALUES[0], OBLIQUE)),
                ("", lambda: model.segment(VALUES[:0], OBLIQUE)),
                ("world", lambda: model.segment(VALUES, OBLIQUE, world="ras")),
                ("overlap", lambda: model.segment(VALUES, OBLIQUE, overlap=1)),
                ("overlap", lambda: model.segment(VALUES, OBLIQUE, overlap=float("nan"))),
                ("mirror", lambda: model.segment(VALUES, OBLIQUE, mirror="x")),
                ("weighting", lambda: model.segment(VALUES, OBLIQUE, weighting="cubic")),
                ("min_volume", lambda: model.segment(VALUES, OBLIQUE, min_volume_ml=-1)),
                ("probabilities", lambda: model.segment(VALUES, OBLIQUE, probabilities="float64")),
                ("of its own", lambda: model.segment(nibabel.Nifti1Image(VALUES, OBLIQUE), OBLIQUE)),
                ("of shape", lambda: model.segment(VALUES, OBLIQUE, out=np.zeros((3, 3, 3), np.uint8))),
                ("out is int16", lambda: model.segment(VALUES, OBLIQUE, out=np.zeros(SHAPE, np.int16))),
                ("shares memory", lambda: model.segment(VALUES, OBLIQUE, out=VALUES.view(np.uint16))),
                ("share their memory", lambda: model.segment(VALUES, OBLIQUE, out=np.lib.stride_tricks.as_strided(
                    np.zeros(1, np.uint8), SHAPE, (0, 0, 0)))),
                ("written", lambda: model.segment(VALUES, OBLIQUE, out=np.broadcast_to(np.uint8(0), SHAPE)))):
            raises(vnet.ArgumentError, text, act)
        for text, array in (("series of 2", np.stack([VALUES] * 2, 3)), ("complex", VALUES.astype("c8")),
                            ("128-bit", VALUES.astype("g")), ("colour", np.zeros(SHAPE, "u1,u1,u1")),
                            ("type", np.full(SHAPE, "text"))):
            raises(vnet.UnsupportedError, text, lambda: model.segment(array, OBLIQUE))
        raises(vnet.UnsupportedError, "series of 2", lambda: model.segment(
            nibabel.Nifti1Image(np.stack([VALUES] * 2, 3), OBLIQUE)))
        want = model.segment(VALUES, OBLIQUE).labels
    with vnet.open(plan("small"), isa="portable", memory_limit=need) as model:
        assert np.array_equal(model.segment(VALUES, OBLIQUE).labels, want)
        raises(vnet.OutOfMemoryError, "limit", lambda: model.segment(ball((90, 90, 90)), OBLIQUE))


def nothing_leaks():
    def resident():
        gc.collect()
        return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def turn(times):
        for i in range(times):
            model = vnet.open(plan("small"), threads=1 + i % 2)
            result = model.segment(VALUES, OBLIQUE, probabilities="float32", progress=lambda f: None)
            raises(ZeroDivisionError, "", lambda: model.segment(VALUES, OBLIQUE, progress=lambda f: 1 / 0))
            if i % 2:
                model.close()  # else by the collector
            if i % 3 == 0:
                model.itself, result.model = model, model  # a cycle

    turn(8)
    before, threads, open_before = resident(), threading.active_count(), len(os.listdir("/proc/self/fd"))
    turn(40)
    grown = resident() - before
    assert grown < 6 << 20, f"{grown >> 10} KiB more after 40 rounds"
    gc.collect()
    assert threading.active_count() == threads and len(os.listdir("/proc/self/fd")) == open_before
    assert len(os.listdir("/proc/self/task")) <= threads + 1


CHECKS = (structs_are_the_compilers, libraries_are_the_right_ones, tensors_are_vnet_runs, layouts_are_one,
          types_are_one, worlds_are_one, files_are_nibabels, options_are_passed_on, probabilities_are_vnet_runs,
          channels_are_a_list, errors_are_classes, nothing_leaks, brain_is_vnet_runs, stopping_is_quick,
          control_c_is_quick, threads_are_kept_apart)
chosen = set(sys.argv[5:]) or {check.__name__ for check in CHECKS}
assert chosen <= {check.__name__ for check in CHECKS}, chosen
for check in CHECKS:
    if check.__name__ in chosen:
        start = time.monotonic()
        check()
        print(f"{check.__name__.replace('_', ' ')}: {time.monotonic() - start:.1f} s", flush=True)
