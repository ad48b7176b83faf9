"""Scans through vnetc and vnet-run, with models whose answer is known in closed form.

    run_scan.py BIN_DIR FIXTURES_DIR

The models are written by tests/peers/scan_models.py; scans are written and results read by nibabel.
"""
import gzip
import itertools
import json
import os
import pathlib
import pty
import signal
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np

bin_dir, fixtures = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
scratch = tempfile.TemporaryDirectory(prefix="vnet-scan-")
folder = pathlib.Path(scratch.name)
random = np.random.default_rng(3)
AFFINE = np.diag([1, 1.5, 2, 1.0])


def call(*words, **more):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=120,
                          **more)
    return done.returncode, done.stdout, done.stderr


def run(*words, **more):
    """vnet-run, which must succeed; its standard output."""
    status, out, err = call(bin_dir / "vnet-run", *words, **more)
    assert status == 0, err
    return out


def refused(status, text, *words, **more):
    """vnet-run, which must fail with this status and one line that holds `text`."""
    before = set(folder.rglob("*"))
    got, out, err = call(bin_dir / "vnet-run", *words, **more)
    assert got == status and text in err, (got, err)
    assert err.startswith("vnet-run: ") and err.count("\n") == 1 and err.endswith("\n"), err
    assert out == "", out
    assert set(folder.rglob("*")) == before, "a file is left"


def plan(name):
    path = folder / f"{name}.plan"
    if not path.exists():
        model = fixtures / "scan" / f"{name}.onnx"
        status, _, err = call(bin_dir / "vnetc", model, "-o", path, "--topology", "any")
        assert status == 0, err
    return path


def save(name, values, affine=AFFINE, kind=nibabel.Nifti1Image):
    image = kind(values, affine)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, folder / name)
    return folder / name


def labels_of(path):
    image = nibabel.load(path)
    return np.asanyarray(image.dataobj), image


def round_values(shape):
    """Random numbers that are not near a border between two classes of `levels`."""
    return (random.integers(0, 4, shape) + random.uniform(-0.4, 0.4, shape)).astype(np.float32)


# ---- results ----


def levels_are_exact():
    """Scans smaller and larger than the patch (16 x 12 x 8), on every axis."""
    for shape in ((16, 12, 8), (5, 7, 3), (40, 9, 21), (15, 31, 8), (17, 25, 9), (1, 1, 1)):
        values = round_values(shape)
        scan = save("scan.nii.gz", values)
        for name in ("levels", "levels_batch", "levels_last"):  # windows three at a time; n d h w c
            run(plan(name), scan)
            found, image = labels_of(folder / "scan.seg.nii.gz")
            assert found.dtype == np.uint8 and np.array_equal(found, np.rint(values)), (name, shape)
            assert np.array_equal(image.affine, AFFINE)
    save("scan.nii", round_values((20, 9, 8, 1)), kind=nibabel.Nifti2Image)
    run(plan("levels"), folder / "scan.nii", "-o", folder / "named.nii")
    found, image = labels_of(folder / "named.nii")
    assert found.shape == (20, 9, 8, 1) and isinstance(image, nibabel.Nifti2Image)


def ties_go_to_the_lowest():
    values = random.choice(np.float32([0.5, 1.5, 2.5]), (20, 17, 11))
    run(plan("levels"), save("scan.nii", values))
    assert np.array_equal(labels_of(folder / "scan.seg.nii.gz")[0], values - 0.5)


def dim_tissue_is_seen():
    """Whole windows at a fifth of the mean are tissue; at a hundredth of it they are air."""
    for dim, skipped in ((0.6, False), (0.03, True)):
        values = np.full((64, 12, 8), 3, np.float32)
        values[0, 0, 0], values[32:] = 0, dim
        report = json.loads(run(plan("levels"), save("scan.nii", values), "--json", "-q"))
        assert (report["windows_skipped"] > 0) == skipped, report
        found, _ = labels_of(folder / "scan.seg.nii.gz")
        assert np.array_equal(found, np.rint(values)), dim


def threads_change_nothing():
    scan = save("scan.nii", round_values((17, 13, 9)))
    results = set()
    for threads in (1, 2, 3, 4, 4):
        run(plan("levels"), scan, "-o", folder / "t.nii.gz", "--threads", threads)
        results.add((folder / "t.nii.gz").read_bytes())
    assert len(results) == 1


def gate_is_zscore():
    values = random.normal(50, 20, (20, 18, 10)).astype(np.float32)
    z = (values - values.mean(dtype=np.float64)) / values.std(dtype=np.float64)
    run(plan("gate"), save("scan.nii", values), "-q")
    found, _ = labels_of(folder / "scan.seg.nii.gz")
    sure = np.abs(z - 1) > 1e-4
    assert np.array_equal(found[sure], (z >= 1)[sure])
    refused(5, "sigmoid", plan("gate_logit"), save("scan.nii", values), "-o", folder / "no.nii")
    refused(5, "every voxel", plan("gate"), save("scan.nii", np.ones((4, 4, 4), np.float32)))
    refused(5, "ArgMax", plan("levels_argmax"), save("scan.nii", values))


def orientation_is_undone():
    """A ramp towards R, A and S in three regions, stored in all 48 orientations: the labels, seen
    in RAS again, are always the same."""
    ramp = np.full((8, 8, 7), 50, np.float32)  # one window: its edges blur nothing
    ramp[:, :4] = np.arange(8).reshape(8, 1, 1) * 6 + 20
    ramp[:, 4:, :3] = np.arange(4).reshape(1, 4, 1) * 6 + 20
    ramp[:, 4:, 3:] = 80 - np.arange(4).reshape(1, 1, 4) * 6
    want = np.zeros(ramp.shape, np.uint8)
    want[1:7, 1:3, 1:6], want[1:7, 5:7, 1:2], want[1:7, 5:7, 4:6] = 1, 3, 6
    turned = np.array([[0.98, -0.15, 0.1, 5], [0.15, 1.48, -0.2, 9], [-0.1, 0.1, 1.98, 1], [0, 0, 0, 1]])
    spacing = np.sqrt((turned[:3, :3] ** 2).sum(0))
    turned[:3, :3] *= np.array([1, 1.5, 2]) / spacing
    base = nibabel.Nifti1Image(ramp, turned)
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            stored = base.as_reoriented(np.stack([axes, flips], 1))
            scan = save("turned.nii", np.asanyarray(stored.dataobj), stored.affine)
            run(plan("gradient"), scan, "-q")
            _, image = labels_of(folder / "turned.seg.nii.gz")
            assert np.array_equal(image.affine, nibabel.load(scan).affine)
            seen = nibabel.as_closest_canonical(image)
            assert np.allclose(seen.affine, turned, atol=1e-5)
            found = np.asanyarray(seen.dataobj)
            assert np.array_equal(found[want > 0], want[want > 0]), (axes, flips)
    refused(5, "is its unit right", plan("gradient"), save("wide.nii", ramp, np.diag([40, 1, 1, 1])))
    lost = nibabel.Nifti1Image(ramp, None)
    lost.header.set_zooms((1, 1.5, 2))
    nibabel.save(lost, folder / "lost.nii")
    refused(5, "left from right", plan("gradient"), folder / "lost.nii")
    (folder / "lost.nii").unlink()


def report_is_true():
    values = round_values((20, 15, 10))
    scan = save("scan.nii", values)
    report = json.loads(run(plan("levels"), scan, "--json", "--threads", 2))
    assert report["threads"] == 2 and report["topology"] and report["isa"], report
    assert report["shape"] == [20, 15, 10] and report["spacing_mm"] == [1, 1.5, 2]
    assert report["windows"] == 2 * 2 * 2, report
    assert set(report["seconds"]) >= {"read", "normalise", "network", "blend", "write"}
    counts = np.bincount(np.rint(values).astype(int).ravel(), minlength=4)
    for label, entry in enumerate(report["labels"]):
        assert entry["label"] == label and entry["voxels"] == counts[label]
        assert abs(entry["ml"] - counts[label] * 3e-3) < 1e-9


def tensors_are_raw():
    x = random.standard_normal((1, 1, 8, 12, 16)).astype(np.float32)
    np.save(folder / "x.npy", x)
    run(plan("levels"), "--tensor", folder / "x.npy", "-o", folder / "y.npy")
    k = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1, 1)
    assert np.allclose(np.load(folder / "y.npy"), k * x - k * k / 2, atol=1e-5)
    run(plan("levels_argmax"), "--tensor", folder / "x.npy", "-o", folder / "y.npy")
    labels = np.load(folder / "y.npy")
    assert labels.dtype == np.int64 and labels.shape == x.shape and set(np.unique(labels)) <= {0, 1, 2, 3}
    np.save(folder / "x.npy", x[:, :, :4])
    refused(2, "1x1x8x12x16", plan("levels"), "--tensor", folder / "x.npy", "-o", folder / "z.npy")
    for kind in "f2 f8 i1 u1 i2 u2 i4 u4 i8 u8 ?".split():  # all numbers become floats
        numbers = np.abs(x * 50).astype(kind)
        np.save(folder / "x.npy", numbers)
        run(plan("levels"), "--tensor", folder / "x.npy", "-o", folder / "y.npy")
        assert np.allclose(np.load(folder / "y.npy"), k * numbers.astype(np.float32) - k * k / 2, atol=1e-4), kind
    for kind in (">f4", "c8", "U1"):
        np.save(folder / "x.npy", x.astype(kind))
        refused(5, kind[1:], plan("levels"), "--tensor", folder / "x.npy", "-o", folder / "z.npy")
    np.save(folder / "x.npy", np.asfortranarray(x))
    refused(5, "Fortran", plan("levels"), "--tensor", folder / "x.npy", "-o", folder / "z.npy")
    np.save(folder / "x.npy", x)
    raw = (folder / "x.npy").read_bytes()
    for size in (0, 5, 9, 60, 128, len(raw) - 1):
        (folder / "cut.npy").write_bytes(raw[:size])
        refused(4, "cut.npy", plan("levels"), "--tensor", folder / "cut.npy", "-o", folder / "z.npy")


# ---- refusals ----


def scans_are_doubted():
    levels, values = plan("levels"), round_values((6, 5, 4))
    missing = values.copy()
    missing[1, 2, 2] = np.nan
    refused(4, "1 of 120 voxels are NaN", levels, save("nan.nii", missing))
    refused(4, "--replace-nan", levels, folder / "nan.nii")
    run(levels, folder / "nan.nii", "--replace-nan", "-q")
    found, _ = labels_of(folder / "nan.seg.nii.gz")
    missing[1, 2, 2] = np.nanmin(missing)
    assert np.array_equal(found, np.rint(missing))
    refused(5, "series of 2 volumes", levels, save("series.nii", np.stack([values, values], 3)))
    refused(5, "complex", levels, save("complex.nii", values.astype(np.complex64)))
    (folder / "cut.nii").write_bytes((folder / "nan.nii").read_bytes()[:700])
    refused(4, "truncated", levels, folder / "cut.nii")
    refused(3, "No such file", levels, folder / "absent.nii")


def arguments_are_doubted():
    levels, scan = plan("levels"), save("scan.nii", round_values((6, 5, 4)))
    refused(2, "expected a plan and a scan")
    refused(2, "expected a plan and a scan", levels)
    refused(2, "are for one scan", levels, scan, scan, "-o", folder / "out.nii")
    refused(2, "for many scans", levels, scan, "--recursive")
    refused(2, "--wrong", levels, scan, "--wrong")
    refused(2, "--threads", levels, scan, "--threads", "none")
    refused(2, "memory-limit", levels, scan, "--memory-limit", "4X")
    refused(2, "must end in", levels, scan, "-o", folder / "out.mha")
    refused(2, "overwritten", levels, scan, "-o", scan)
    refused(2, "exclude", levels, scan, "--tensor", scan, "-o", scan)
    refused(3, "No such file", folder / "absent.plan", scan)
    refused(2, "is a scan; the plan comes before it", scan, scan)
    refused(6, "limit", levels, scan, "--memory-limit", "1K")
    out = run("--help")
    assert "Exit status" in out and max(map(len, out.splitlines())) <= 80
    assert run("--version").startswith("vnet-run ")


def costs_are_bounded():
    """Windows, memory that is free, threads that cannot be had: before any work, or with a note."""
    model = folder / "fine.onnx"
    assert call(bin_dir / "vnet-model", "--width", "2", "--stages", "2", "--classes", "2", "--patch",
                "64x64x64", "--orientation", "RAS", "--spacing", "1 1 1", "-o", model)[0] == 0
    fine = folder / "fine.plan"
    assert call(bin_dir / "vnetc", model, "-o", fine, "-q")[0] == 0
    few = save("few.nii.gz", round_values((32, 32, 32)), np.diag([31, 31, 31, 1.0]))
    refused(5, "takes 27000 windows, and the limit is 10000", fine, few, "-q")
    refused(5, "takes 27000 windows, and the limit is 26999", fine, few, "--max-windows", "26999")
    out = folder / "few.seg.nii.gz"
    process = subprocess.Popen([bin_dir / "vnet-run", fine, few, "-q", "--max-windows", "0"])
    time.sleep(1)  # under way, and for longer than anybody wants
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 7 and not out.exists()
    program = (bin_dir / "vnet-run").read_bytes()
    if b"__asan_init" in program or program.startswith(b"#!"):
        return  # a sanitizer or an emulator, which take all address space, and threads, for themselves
    # A header that promises 9 GB, which so small a file may hold, under a limit of address space.
    deep = folder / "deep.nii.gz"
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape((1300, 1300, 1300))
    header.set_sform(np.eye(4), 1)
    deep.write_bytes(gzip.compress(header.binaryblock + bytes(4) + random.bytes(2200000), 1))
    levels = plan("levels")
    limited = "ulimit -v 2000000; exec \"$@\""
    before = set(folder.rglob("*"))
    status, _, err = call("bash", "-c", limited, "-", bin_dir / "vnet-run", levels, deep, "-q",
                          "--max-windows", "0")
    assert status == 6 and "are free (--memory-limit none" in err and err.count("\n") == 1, err
    assert set(folder.rglob("*")) == before, "a file is left"
    deep.unlink()
    # A user of its own, who may have one thread: root's are not counted.
    if os.geteuid() == 0 and len(os.sched_getaffinity(0)) > 1:
        scan = save("scan.nii", round_values((6, 5, 4)))
        folder.chmod(0o777)
        code = ("import os, resource, sys; os.setgid(500123); os.setuid(500123);"
                "resource.setrlimit(resource.RLIMIT_NPROC, (1, 1)); os.execv(sys.argv[1], sys.argv[1:])")
        status, _, err = call(sys.executable, "-c", code, bin_dir / "vnet-run", levels, scan)
        assert status == 0 and "note: only 1 of " in err, (status, err)


def outputs_are_whole_or_absent():
    levels, scan = plan("levels"), save("scan.nii", random.normal(0, 1, (40, 40, 40)).astype("f4"))
    (folder / "folder.nii").mkdir()
    refused(3, "is a folder", levels, scan, "-o", folder / "folder.nii")
    (folder / "folder.nii").rmdir()
    for place in (folder / "absent", pathlib.Path("/proc")):  # /proc: not even root may
        refused(3, "cannot write", levels, scan, "-o", place / "out.nii")
    # No room: the kernel's limit on a file's size stands in for a full disk.
    full = ["bash", "-c", 'ulimit -f 8; exec "$@"', "-", bin_dir / "vnet-run", levels, scan]
    old = folder / "old.nii"
    old.write_bytes(b"yesterday's result")
    for name in ("old.nii", "new.nii"):
        before = set(folder.rglob("*"))
        status, _, err = call(*full, "-q", "-o", folder / name)
        assert status == 3 and "File too large" in err and err.count("\n") == 1, (status, err)
        assert set(folder.rglob("*")) == before, "a file is left"
    assert old.read_bytes() == b"yesterday's result"
    old.unlink()


def signals_leave_nothing():
    """At once, while the network runs, and twice in a row."""
    levels, scan = plan("levels"), save("long.nii", random.integers(0, 255, (400, 400, 200), np.uint8))
    before = set(folder.rglob("*"))
    for number, delay in ((signal.SIGINT, 0.0), (signal.SIGINT, 0.7), (signal.SIGTERM, 1.2)):
        process = subprocess.Popen([bin_dir / "vnet-run", levels, scan, "-q"],
                                   stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while not list(folder.glob(".*.part")) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(delay)
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 7 and err.count("\n") == 1, (process.returncode, err)
        assert set(folder.rglob("*")) == before, "a file is left"
    scan.unlink()


def on_a_terminal(words, until=None):
    """What vnet-run writes to a terminal, its status, and how long it took from the moment that `until` was
    there, when it got a Ctrl-C."""
    leader, follower = pty.openpty()
    process = subprocess.Popen([bin_dir / "vnet-run", *words], stderr=follower, stdout=subprocess.DEVNULL)
    os.close(follower)
    seen, pressed = b"", None
    while True:
        try:
            chunk = os.read(leader, 4096)
        except OSError:
            break
        if not chunk:
            break
        seen += chunk
        if until and pressed is None and until in seen:
            process.send_signal(signal.SIGINT)
            pressed = time.monotonic()
    os.close(leader)
    return seen, process.wait(), pressed and time.monotonic() - pressed


def reading_can_be_stopped():
    """A bar while a large file is read, and an end within a second of Ctrl-C; so while labels are written."""
    scan = save("large.nii.gz", np.zeros((320, 320, 320), np.uint8))
    before = set(folder.rglob("*"))
    for until in (b"reading [", b"reading [" + b"#" * 20, b"segmenting ["):
        seen, status, wait = on_a_terminal([plan("levels"), scan], until)
        assert status == 7 and wait < 1 and seen.endswith(b"interrupted\r\n"), (status, wait, seen[-200:])
        assert set(folder.rglob("*")) == before, "a file is left"
    scan.unlink()


def a_run_says_what_came_out():
    """On standard output: where, how much of each label, how long. Nothing with -q."""
    values = round_values((20, 15, 10))
    scan = save("scan.nii", values)
    said = run(plan("levels"), scan).splitlines()
    assert said[0].startswith(f"{folder}/scan.seg.nii.gz: done in ") and said[0].endswith(" s"), said
    counts = np.bincount(np.rint(values).astype(int).ravel(), minlength=4) * 3e-3
    names = [label["name"] for label in json.loads(run(plan("levels"), scan, "--json"))["labels"]]
    assert said[1:] == [f"  label {i}, {names[i]}: {counts[i]:.3f} ml" for i in (1, 2, 3)], said
    assert call(bin_dir / "vnet-run", plan("levels"), scan, "-q") == (0, "", "")


def bar_is_for_terminals():
    levels, scan = plan("levels"), save("scan.nii", round_values((40, 40, 20)))
    for words, drawn in (([], True), (["-q"], False)):
        seen, status, _ = on_a_terminal([levels, scan, *words])
        assert status == 0
        assert (b"segmenting [" in seen) == drawn, seen
    assert call(bin_dir / "vnet-run", levels, scan)[2] == ""


for test in (levels_are_exact, ties_go_to_the_lowest, dim_tissue_is_seen, threads_change_nothing,
             gate_is_zscore, orientation_is_undone, report_is_true, tensors_are_raw, scans_are_doubted,
             arguments_are_doubted, costs_are_bounded, outputs_are_whole_or_absent,
             signals_leave_nothing, reading_can_be_stopped, a_run_says_what_came_out,
             bar_is_for_terminals):
    start = time.monotonic()
    test()
    print(f"{test.__name__.replace('_', ' ')}: {time.monotonic() - start:.1f} s", flush=True)
