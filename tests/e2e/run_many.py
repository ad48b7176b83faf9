"""A folder of 20 scans, two of them bad: alone, on two ranks, killed half-way and resumed.

    run_many.py BIN_DIR FIXTURES_DIR [MPIRUN]

Every label map must equal the one that vnet-run makes of the scan alone.
"""
import csv
import gzip
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time

import nibabel
import numpy as np

bin_dir, fixtures = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
mpirun = sys.argv[3] if len(sys.argv) > 3 else None
scratch = tempfile.TemporaryDirectory(prefix="vnet-many-")
folder = pathlib.Path(scratch.name)
random = np.random.default_rng(4)
vnet_run, plan, scans = bin_dir / "vnet-run", folder / "levels.plan", folder / "scans"
BAD = {"case-04": "truncated", "case-13": "series of 3 volumes"}


def call(*words, **more):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=1800,
                          **more)
    return done.returncode, done.stdout, done.stderr


def prepare():
    status, _, err = call(bin_dir / "vnetc", fixtures / "scan" / "levels.onnx", "-o", plan,
                          "--topology", "any")
    assert status == 0, err
    scans.mkdir()
    for i in range(20):
        shape = (70 + i, 60, 50)
        values = random.integers(0, 4, shape).astype(np.float32)
        if i == 13:
            values = np.stack([values] * 3, 3)
        nibabel.save(nibabel.Nifti1Image(values, np.diag([1, 1.5, 2, 1])),
                     scans / f"case-{i:02}.nii.gz")
    cut = scans / "case-04.nii.gz"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (scans / "notes.txt").write_text("not a scan")


def results(out):
    """Every file's bytes, but for the reports, which hold times."""
    return {p.name: p.read_bytes() for p in sorted(out.iterdir()) if p.suffix != ".json"}


def labels(out):
    return {p.name: gzip.decompress(p.read_bytes()) for p in sorted(out.glob("*.seg.nii.gz"))}


def summary_check(out, text):
    rows = list(csv.DictReader(open(out / "summary.csv")))
    ok = {r["scan"] for r in rows if r["status"] == "ok"}
    assert len(ok) == 18 and len(rows) == 18 * 4 + 2, (len(ok), len(rows))
    for name, why in BAD.items():
        row = next(r for r in rows if name in r["scan"])
        assert row["status"] == "failed" and why in row["message"], row
    first = next(r for r in rows if "case-00" in r["scan"] and r["label"] == "1")
    values = np.asanyarray(nibabel.load(scans / "case-00.nii.gz").dataobj)
    where = np.argwhere(values == 1)
    assert int(first["voxels"]) == len(where)
    assert abs(float(first["ml"]) - len(where) * 3 / 1000) < 1e-6
    assert abs(float(first["mean"]) - 1) < 1e-6 and abs(float(first["sd"])) < 1e-6
    want = where.mean(0) * [1, 1.5, 2]
    assert np.allclose([float(first[k]) for k in ("x_mm", "y_mm", "z_mm")], want, atol=1e-3)
    assert text.count("FAILED") == 2 and "20 scans, 2 failed" in text, text


def alone_is_right():
    status, text, err = call(vnet_run, plan, scans, "--output-dir", folder / "one")
    assert status == 4, (status, err)  # the first failure's: a damaged file
    lines = [line for line in err.splitlines() if "note" not in line]
    assert len(lines) == 2 and all("case-" in line for line in lines), err
    summary_check(folder / "one", text)
    for i in (0, 19):
        single = folder / "single.nii.gz"
        assert call(vnet_run, plan, scans / f"case-{i:02}.nii.gz", "-o", single)[0] == 0
        assert gzip.decompress(single.read_bytes()) == labels(folder / "one")[f"case-{i:02}.seg.nii.gz"]


def ranks_change_nothing():
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    status, text, err = call(mpirun, *root, "--oversubscribe", "-n", "2", vnet_run, plan, scans,
                             "--output-dir", folder / "two", "--threads", "1")
    assert status != 0, err
    assert err.count("note: ranks run without the sandbox") == 1, err
    summary_check(folder / "two", text)
    assert results(folder / "one") == results(folder / "two")


def lists_are_read():
    names = folder / "cases.txt"
    names.write_text("\ufeff# two of them\n" + "".join(f"{scans}/case-{i:02}.nii.gz\n\n" for i in (3, 5)))
    status, text, err = call(vnet_run, plan, "--list", names, "--output-dir", folder / "list")
    assert status == 0 and "2 scans, 0 failed" in text, (status, err)
    for name, want in labels(folder / "list").items():
        assert want == labels(folder / "one")[name]
    assert len(labels(folder / "list")) == 2
    names.write_bytes(b"case\0-03.nii.gz\n")
    assert call(vnet_run, plan, "--list", names, "--output-dir", folder / "list")[0] == 4
    names.write_text("# none\n")
    assert call(vnet_run, plan, "--list", names, "--output-dir", folder / "list")[0] == 2
    assert call(vnet_run, plan, folder / "absent", "--output-dir", folder / "list")[0] == 3


def killed_and_resumed():
    out = folder / "killed"
    for kills in range(3):
        process = subprocess.Popen([vnet_run, plan, scans, "--output-dir", out, "--resume"],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        want = min(17, 4 + 5 * kills)
        deadline = time.monotonic() + 60
        while len(list(out.glob("*.seg.nii.gz"))) < want and time.monotonic() < deadline:
            assert process.poll() is None, "ended before it was killed"
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    for path in out.glob("*.seg.nii.gz"):  # whatever is there is whole
        assert gzip.decompress(path.read_bytes()) == labels(folder / "one")[path.name]
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("*.seg.nii.gz")}
    status, text, _ = call(vnet_run, plan, scans, "--output-dir", out, "--resume")
    assert status == 4
    summary_check(out, text)
    left = {name: data for name, data in results(out).items() if not name.startswith(".")}
    assert left == results(folder / "one"), sorted(left)
    for name, stamp in before.items():
        assert (out / name).stat().st_mtime_ns == stamp, f"{name} was made again"
    hidden = [p for p in out.iterdir() if p.name.startswith(".")]
    assert not hidden, f"partial files are left: {hidden}"
    # Another plan's results are not taken for this one's.
    other = folder / "other.plan"
    assert call(bin_dir / "vnetc", fixtures / "scan" / "gate.onnx", "-o", other, "--topology",
                "any")[0] == 0
    call(vnet_run, other, scans, "--output-dir", out, "--resume")
    assert before and all((out / name).stat().st_mtime_ns != stamp
                          for name, stamp in before.items()), "taken for another plan's"


def resumed_with_other_options():
    """What decides labels is part of what is finished, and so is every file that is asked for."""
    out, two = folder / "more", [scans / "case-00.nii.gz", scans / "case-01.nii.gz"]

    def run(*words):
        status, _, err = call(vnet_run, plan, *two, "--output-dir", f"{out}/", "--resume", *words)
        assert status == 0, err
        return [(out / f"case-0{i}.seg.nii.gz").stat().st_mtime_ns for i in (0, 1)]

    first = run()
    assert run() == first
    table = out / "case-01.seg.csv"  # of other columns, as another version may have written it
    table.write_text(table.read_text().replace(",soft_ml,", ",", 1))
    again = run()
    assert again[0] == first[0] and again[1] > first[1] and "soft_ml" in table.read_text()
    first = again
    cleaned = run("--largest-component", "--mirror", "w")
    assert not set(first) & set(cleaned) and run("--largest-component", "--mirror", "w") == cleaned
    rows = list(csv.DictReader(open(out / "summary.csv")))
    assert {row["options"] for row in rows} == {"mirror w largest-component"}, rows[0]
    pictured = run("--largest-component", "--mirror", "w", "--picture")
    assert not set(cleaned) & set(pictured) and (out / "case-01.seg.png").exists()
    (out / "case-01.seg.png").unlink()
    assert run("--largest-component", "--mirror", "w", "--picture")[0] == pictured[0] and (out / "case-01.seg.png").exists()
    # Without it nothing is made again; a picture of other labels is no picture of these.
    clean = ["--min-volume-ml", "0.001"]
    drawn = run(*clean, "--picture")
    assert run(*clean) == drawn and not set(run("--largest-component")) & set(drawn)
    old = (out / "case-01.seg.png").stat().st_mtime_ns
    run("--largest-component", "--picture")
    assert (out / "case-01.seg.png").stat().st_mtime_ns != old
    rows = list(csv.DictReader(open(out / "summary.csv")))
    assert {row["options"] for row in rows} == {"largest-component picture"}, rows[0]
    # What is said is the default, and what is no option at all, leave what is there.
    last = run("--largest-component", "--picture")
    assert run("--largest-component", "--picture", "--overlap", "0.5") == last
    status, _, err = call(vnet_run, plan, *two, "--output-dir", out, "--geometry", 'a,"b')
    assert status == 2 and "--geometry: expected sform" in err, err
    assert run("--largest-component", "--picture") == last
    # What fails leaves its row and nothing that would pass for its result.
    status, text, _ = call(vnet_run, plan, *two, "--output-dir", out, "--max-windows", "1", "--mirror", "w")
    rows = list(csv.DictReader(open(out / "summary.csv"), strict=True))
    assert status == 5 and "2 scans, 2 failed" in text, text
    assert [row["status"] for row in rows] == 2 * ["failed"] and {row["options"] for row in rows} == {"mirror w"}, rows
    assert {p.name for p in out.iterdir()} == {"summary.csv", "case-00.seg.csv", "case-01.seg.csv"}
    # A scan behind --csv is a scan, not the table's name.
    status, _, err = call(vnet_run, plan, "--csv", *two)
    assert status == 2 and "of many scans" in err and gzip.decompress(two[0].read_bytes()), (status, err)


def results_know_their_scan():
    """Another scan of the same name, one that has changed, and a file that has gone are made again; a disk that is
    full is no result."""
    out, homes = folder / "known", [folder / "p1", folder / "p2"]
    for i, home in enumerate(homes):
        home.mkdir()
        nibabel.save(nibabel.Nifti1Image(random.integers(0, 4, (30, 20, 10)).astype(np.float32), np.eye(4)), home / "t1.nii")

    def run(home, **more):
        status, text, err = call(vnet_run, plan, "t1.nii", "--output-dir", out, "--resume", cwd=home, **more)
        return status, text, (out / "t1.seg.nii.gz").stat().st_mtime_ns if (out / "t1.seg.nii.gz").exists() else None

    first = run(homes[0])
    assert run(homes[0]) == first
    second = run(homes[1])
    assert second[2] != first[2] and run(homes[1]) == second
    made = np.asanyarray(nibabel.load(out / "t1.seg.nii.gz").dataobj)
    assert (made == np.asanyarray(nibabel.load(homes[1] / "t1.nii").dataobj)).all()
    os.utime(homes[1] / "t1.nii", ns=(1, 1))
    third = run(homes[1])
    assert third[2] != second[2] and run(homes[1]) == third
    (out / "t1.seg.json").unlink()
    fourth = run(homes[1])
    assert fourth[2] != third[2] and (out / "t1.seg.json").exists()
    os.utime(homes[1] / "t1.nii", ns=(2, 2))
    status, text, left = run(homes[1], preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)))
    assert status == 3 and left is None and "ok" not in text, (status, text, left)
    status, _, err = call(vnet_run, plan, *(home / "t1.nii" for home in homes), "--returnparameterfile", homes[0] / "t1.nii")
    assert status == 2 and "--returnparameterfile is for one scan" in err, err


def memory_is_shared():
    """What fits alone is done in a list, too, though the next scan is read meanwhile."""
    program = vnet_run.read_bytes()
    if b"__asan_init" in program or program.startswith(b"#!"):
        return  # a sanitizer or an emulator, which take all address space for themselves
    for i in (0, 1):
        nibabel.save(nibabel.Nifti1Image(np.full((220, 220, 220), 3, np.uint8), np.eye(4)), folder / f"large{i}.nii")
    large = [folder / f"large{i}.nii" for i in (0, 1)]

    def run(mib, *words):
        limit = mib << 20
        return call(vnet_run, plan, *words, "--threads", "1", env={**os.environ, "MALLOC_ARENA_MAX": "1"},
                    preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))

    low, high = 40, 280  # one scan is 41 MiB as float32
    while high - low > 10:
        mib = (low + high) // 2
        fits = run(mib, large[0], "-o", folder / "one.nii")[0] == 0
        low, high = (low, mib) if fits else (mib, high)
    status, text, err = run(high + 15, *large, "--output-dir", folder / "large")
    assert status == 0 and "2 scans, 0 failed" in text, (high, status, err)
    status, text, err = run(low - 10, *large, "--output-dir", folder / "large")
    assert status == 6 and "2 scans, 2 failed" in text, (low, status, err)


prepare()
for test in (alone_is_right, ranks_change_nothing, lists_are_read, killed_and_resumed, resumed_with_other_options,
             results_know_their_scan, memory_is_shared):
    if test is ranks_change_nothing and not mpirun:
        print("no MPI: two ranks are not tested")
        continue
    start = time.monotonic()
    test()
    print(f"{test.__name__.replace('_', ' ')}: {time.monotonic() - start:.1f} s", flush=True)
