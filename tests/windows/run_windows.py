"""The zip for Windows, unpacked and used under wine, beside the programs of this system.

    run_windows.py ZIP NATIVE_BIN_DIR FIXTURES_DIR SOURCE_DIR SCAN

Plans, outputs and labels have the same bytes as NATIVE_BIN_DIR's; a model or an argument that is
refused there is refused here with the same status and sentence. SCAN: a scan of a head.
"""
import atexit
import concurrent.futures
import json
import os
import pathlib
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile

import nibabel
import numpy as np

archive, native, fixtures, source, head = (pathlib.Path(a).resolve() for a in sys.argv[1:6])
sys.path.insert(0, str(fixtures))
import pool  # noqa: E402  (of the fixtures' folder)

scratch = tempfile.TemporaryDirectory(prefix="vnet-windows-")
folder = pathlib.Path(scratch.name)
root = folder / "unpacked"
programs = folder / "programs"  # named as this system's, so that its own tests can call them
WINE, SERVER = ["/usr/lib/wine/wine64"], "/usr/lib/wine/wineserver"
os.environ.update(WINEDEBUG="-all", WINEPREFIX=str(folder / "wine"))
FLAGS = pathlib.Path("/proc/cpuinfo").read_text().split()
ISAS = ["portable"] + [isa for isa, flag in (("avx2", "avx2"), ("avx512", "avx512vl")) if flag in FLAGS]
random.seed(17)


def call(program, *words, cwd=None, timeout=60):
    done = subprocess.run([str(w) for w in (program, *words)], capture_output=True, timeout=timeout, cwd=cwd)
    # A line of wine's own, which it wrote once on a machine with much else to do.
    return done.returncode, done.stdout.decode(), re.sub(r"wine client error:.*\n?", "", done.stderr.decode())


def windows(path):
    return "Z:" + str(path).replace("/", "\\")


def labels(path):
    return np.asanyarray(nibabel.load(path).dataobj)


def unpack():
    with zipfile.ZipFile(archive) as file:
        file.extractall(folder)
    (folder / archive.stem).rename(root)
    names = {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    wanted = {f"bin/{p}.exe" for p in ("vnet-run", "vnetc", "vnet-plan", "vnet-bench", "vnet-model", "vnet-train")}
    for library in ("vnet", "vnet-segment", "vnet-scan"):
        wanted |= {f"bin/{library}.dll", f"lib/lib{library}.dll.a"}
    wanted |= {f"include/vnet/{h}" for h in ("vnet.h", "vnet_segment.h", "vnet_scan.h", "vnet_status.h")}
    wanted |= {f"share/vnet/models/{name}.plan" for name in ("brain", "brain-parts")}
    wanted |= {"share/doc/vnet/licences/libpng1.6.txt", "LICENSE"}
    assert wanted <= names, wanted - names
    programs.mkdir()
    for exe in (root / "bin").glob("*.exe"):
        script = programs / exe.stem
        script.write_text(f'#!/bin/sh\nexec {WINE[0]} {exe} "$@"\n')
        script.chmod(0o755)
    (folder / "wine").mkdir()
    # One server for all calls; what it starts must not hold a later call's pipes open.
    for words in ([SERVER, "-p"], [programs / "vnet-run", "--version"]):
        subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def only_what_windows_has_is_loaded():
    system = {"KERNEL32.dll", "msvcrt.dll", "ADVAPI32.dll", "SHELL32.dll"}
    for file in [*(root / "bin").glob("*.exe"), *(root / "bin").glob("*.dll")]:
        text = call("x86_64-w64-mingw32-objdump", "-p", file)[1]
        needed = set(re.findall(r"DLL Name: (\S+)", text))
        assert needed <= system | {"vnet.dll", "vnet-segment.dll", "vnet-scan.dll"}, (file, needed)
        exports = re.findall(r"\[Ordinal/Name Pointer\] Table(.*?)\n\n", text, re.DOTALL)
        names = sorted(re.findall(r"\[ *\d+\] (?:\+base\[ *\d+\] *[0-9a-f]+ )?(\w+)", exports[0])) if exports else []
        if file.suffix == ".dll":
            promised = (source / f"tests/e2e/symbols/lib{file.stem}.txt").read_text().split()
            assert names == sorted(promised), (file, set(names) ^ set(promised))
        else:
            assert not names, (file, names)


def fixture_check(models, line):
    name, what, options, _ = (field.strip() for field in line.split("|"))
    with tempfile.TemporaryDirectory() as own:
        own = pathlib.Path(own)
        mine, theirs = own / "mine.plan", own / "theirs.plan"
        words = [models / f"{name}.onnx", "-q", *shlex.split(options), "-o"]
        here, there = call(native / "vnetc", *words, mine), call(programs / "vnetc", *words, theirs)
        assert here[0] == there[0] and here[2] == there[2], (name, here, there)
        if what == "refuse":
            return
        assert mine.read_bytes() == theirs.read_bytes(), name
        outputs = len(list((fixtures / "golden").glob(f"{name}.out*.npy")))
        for isa in ISAS:
            results = []
            for bin_dir in (native, programs):
                files = [own / f"{isa}{i}.npy" for i in range(outputs)]
                status, _, err = call(bin_dir / "vnet-run", mine, "--tensor", fixtures / "golden" / f"{name}.in.npy",
                                      "-q", "--isa", isa, *(w for f in files for w in ("-o", f)))
                assert status == 0, (name, isa, bin_dir, status, err)
                results.append([f.read_bytes() for f in files])
            assert results[0] == results[1], f"{name}: {isa}: other bytes than on this system"


def fixtures_have_the_same_bytes():
    models = folder / "models"
    shutil.copytree(fixtures / "models", models, symlinks=True)
    pool.write(models)
    lines = [li for li in (fixtures / "manifest.txt").read_text().splitlines() if li.strip() and li[0] != "#"]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as workers:
        assert len(list(workers.map(lambda line: fixture_check(models, line), lines))) > 50


def a_head_has_the_same_labels():
    """Of a folder and a file whose names are no ASCII; named as Windows does and as its users may."""
    place = folder / "Zoë Ж" / "頭部"
    place.mkdir(parents=True)
    scan = place / "Köpfe €.nii.gz"
    shutil.copy(head, scan)
    status, out, err = call(programs / "vnet-run", "brain", windows(scan), "--picture", windows(place / "bild ß.png"),
                            "--report", windows(place / "r.json"), "--scores", windows(place / "scores.nii.gz"))
    assert status == 0 and "Köpfe €.seg.nii.gz" in out, (out, err)
    assert (place / "bild ß.png").read_bytes()[:4] == b"\x89PNG"
    report = json.loads((place / "r.json").read_text())
    assert report["sandbox"] == "none" and report["peak_resident_bytes"] > 1 << 26
    assert call(native / "vnet-run", root / "share/vnet/models/brain.plan", scan, "-q", "-o", folder / "here.nii.gz",
                "--isa", report["isa"], "--scores", folder / "scores.nii.gz")[0] == 0
    assert np.array_equal(labels(place / "Köpfe €.seg.nii.gz"), labels(folder / "here.nii.gz"))
    assert np.array_equal(labels(place / "scores.nii.gz"), labels(folder / "scores.nii.gz"))
    assert not [p for p in place.iterdir() if p.name.startswith(".")], "a hidden file is left"


def small(name, shape=(30, 25, 20)):
    values = np.random.default_rng(5).integers(0, 4, shape).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / name)
    return values, folder / name


def levels():
    """A model in the place of a plan: compiled beside itself, and taken from there."""
    model = folder / "levels.onnx"
    shutil.copy(fixtures / "scan" / "levels.onnx", model)
    assert call(native / "vnetc", model, "-q", "-o", folder / "levels.plan", "--topology", "any")[0] == 0
    return folder / "levels.plan"


def models_are_found_and_compiled():
    _, scan = small("scan.nii")
    model = folder / "own" / "vnet.onnx"
    model.parent.mkdir()
    assert call(programs / "vnet-model", "--width", "2", "-o", windows(model))[0] == 0
    status, _, err = call(programs / "vnet-run", windows(model), windows(scan), "-o", windows(folder / "a.nii"))
    assert status == 0 and "compiled to" in err and model.with_suffix(".plan").exists(), err
    os.environ["VNET_MODELS"] = windows(model.parent) + ";" + windows(folder)
    status, out, _ = call(programs / "vnet-run", "--models")
    del os.environ["VNET_MODELS"]
    assert status == 0 and {line.split()[0] for line in out.splitlines()} >= {"brain", "vnet"}, out


def folders_patterns_and_long_names():
    plan = levels()
    deep = folder / "scans"
    for i in range(5):
        deep = deep / ("d" * 50 + str(i))
    deep.mkdir(parents=True)
    values, scan = small("scan.nii")
    shutil.copy(scan, deep / "T1 ä.nii")
    shutil.copy(scan, folder / "scans" / "top.nii")
    status, out, err = call(programs / "vnet-run", windows(plan), windows(folder / "scans"), "--recursive",
                            "--exclude", "*top*", "--output-dir", windows(folder / "labels"))
    assert status == 0 and "1 scan, 0 failed" in out, (out, err)
    results = list((folder / "labels").rglob("*.nii.gz"))
    assert len(results) == 1 and results[0].name == "T1 ä.seg.nii.gz" and np.array_equal(labels(results[0]), values)
    (folder / "list.txt").write_bytes(("scans\\top.nii\r\n" + windows(deep) + "\\T1 ä.nii\r\n").encode())
    status, out, err = call(programs / "vnet-run", "levels.plan", "--list", "list.txt", "--output-dir", "listed",
                            cwd=folder)
    assert status == 0 and "2 scans, 0 failed" in out, (out, err)


def the_statuses_and_sentences_are_the_same():
    plan = levels()
    _, scan = small("scan.nii")
    (folder / "damaged.nii").write_bytes(scan.read_bytes()[:2000])
    (folder / "text.nii").write_text("not a scan\n")
    cases = [["--no-such-option"], ["levels.plan"], ["levels.plan", "nothing.nii"], ["levels.plan", "damaged.nii"],
             ["levels.plan", "text.nii"], ["nomodel", "scan.nii"], ["levels.plan", "."],
             ["levels.plan", "scan.nii", "-o", "none/there.nii"], ["levels.plan", "scan.nii", "-o", "scan.nii"],
             ["levels.plan", "scan.nii", "-o", "scans"], ["levels.plan", "scan.nii", "--memory-limit", "1K"],
             ["scan.nii", "scan.nii"]]
    seen = set()
    for case in cases:
        here, there = (call(bin_dir / "vnet-run", *case, cwd=folder) for bin_dir in (native, programs))
        assert here[0] == there[0] != 0, (case, here, there)
        if case[0] != "nomodel":  # which names what is installed
            sizes = r"[0-9]+ MiB"  # programs are not equally large
            assert re.sub(sizes, "", here[2]) == re.sub(sizes, "", there[2]), (case, here, there)
        seen.add(there[0])
    assert seen >= {2, 3, 4, 6}, seen
    kept = folder / "kept.nii"
    kept.write_text("mine")
    kept.chmod(0o444)
    status, _, err = call(programs / "vnet-run", windows(plan), windows(scan), "-o", windows(kept))
    assert status == 3 and "cannot write" in err and kept.read_text() == "mine", (status, err)


def start(*words):
    return subprocess.Popen([*WINE, root / "bin" / "vnet-run.exe", *words, "-q"], stderr=subprocess.PIPE, text=True)


def parts(place):
    return [p.name for p in place.iterdir() if p.name.startswith(".")]


def stopped_and_killed_runs_leave_nothing():
    place = folder / "stopped"
    place.mkdir()
    out = place / "out.nii.gz"
    words = ("brain", head, "--overlap", "0.9", "--all-windows", "--mirror", "dhw", "-o", out, "--csv", place / "o.csv")
    for kind in (signal.SIGINT, signal.SIGKILL):
        process = start(*words)
        while not parts(place):
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        time.sleep(0.3)
        begin = time.monotonic()
        process.send_signal(kind)  # SIGINT is what wine makes Ctrl-C of
        _, err = process.communicate(timeout=60)
        assert time.monotonic() - begin < 5
        if kind == signal.SIGINT:
            assert process.returncode == 7 and err == "vnet-run: interrupted\n", (process.returncode, err)
        for _ in range(100):  # wine's server may be a moment behind
            if not list(place.iterdir()):
                break
            time.sleep(0.02)
        assert not list(place.iterdir()), list(place.iterdir())
    plan = levels()
    values, scan = small("whole.nii", (60, 60, 50))
    for _ in range(8):
        process = start(plan, scan, "-o", out)
        time.sleep(random.uniform(0.1, 0.5))
        process.kill()
        process.communicate()
        assert not out.exists() or np.array_equal(labels(out), values)
        out.unlink(missing_ok=True)
    time.sleep(0.5)
    assert not parts(place), parts(place)


def slicer_sees_a_module():
    done = subprocess.run([sys.executable, source / "tests/e2e/run_slicer.py", programs, fixtures, source])
    assert done.returncode == 0


def a_host_is_built_from_the_zip():
    scan = folder / "text.nrrd"
    scan.write_text("NRRD0004\ntype: float\ndimension: 3\nspace: RAS\nsizes: 2 2 2\nencoding: text\n"
                    "space directions: (1.5,0,0) (0,1.5,0) (0,0,1.5)\n\n1.5 2.5 3 4 5 6 7 8\n")
    host = root / "bin" / "calls.exe"
    status, _, err = call("x86_64-w64-mingw32-gcc-posix", "-O2", "-Wall", "-Werror", f"-I{root}/include/vnet",
                          source / "tests/windows/calls.c", "-o", host, f"-L{root}/lib", "-l:libvnet.dll.a",
                          "-l:libvnet-segment.dll.a", "-l:libvnet-scan.dll.a")
    assert status == 0, err
    model, plan = folder / "calls.onnx", folder / "calls.plan"
    assert call(native / "vnet-model", "--width", "16", "--patch", "16x16x16", "-o", model)[0] == 0
    assert call(native / "vnetc", model, "-q", "-o", plan)[0] == 0
    status, out, err = call(*WINE, host, windows(plan), windows(scan), windows(folder / "saved.nii.gz"))
    assert status == 0, (out, err)
    print(out, end="")
    assert labels(folder / "saved.nii.gz").sum() == 4


def the_promise_holds():
    """tests/golden/promise: plans that vnetc makes here, outputs of a host that is built from the zip."""
    promise, host = source / "tests/golden/promise", root / "bin" / "promise.exe"
    status, _, err = call("x86_64-w64-mingw32-gcc-posix", "-O2", f"-I{root}/include/vnet",
                          f"-I{archive.parent}/deps/include", promise / "promise.c", "-o", host, f"-L{root}/lib",
                          "-l:libvnet.dll.a", "-l:libvnet-segment.dll.a")
    assert status == 0, err
    status, _, err = call(promise / "promise.sh", programs, folder / "promised")
    assert status == 0, err
    status, out, err = call(*WINE, host, promise / "table.txt", folder / "promised", *ISAS)
    print(out, end="")
    assert status == 0 and "same" in out and "differs" not in out, (out, err)


def the_trainer_trains():
    rows = ["image,label"]
    for i in range(2):
        values, _ = small(f"case{i}.nii", (24, 24, 24))
        nibabel.save(nibabel.Nifti1Image((values > 1).astype(np.uint8), np.eye(4)), folder / f"case{i}.lab.nii")
        rows.append(f"case{i}.nii,case{i}.lab.nii")
    (folder / "cases.csv").write_text("\r\n".join(rows) + "\r\n")
    status, _, err = call(programs / "vnet-train", "--data", "cases.csv", "--classes", "2", "--steps", "3",
                          "--patch", "16x16x16", "--width", "4", "--log", "log.csv", "-o", "new.onnx", "-q", cwd=folder)
    assert status == 0, err
    assert call(native / "vnetc", folder / "new.onnx", "-q", "-o", folder / "new.plan")[0] == 0


atexit.register(subprocess.run, [SERVER, "-k"])
unpack()
for test in (only_what_windows_has_is_loaded, a_head_has_the_same_labels, models_are_found_and_compiled,
             folders_patterns_and_long_names, the_statuses_and_sentences_are_the_same,
             stopped_and_killed_runs_leave_nothing, slicer_sees_a_module, a_host_is_built_from_the_zip,
             the_promise_holds, the_trainer_trains, fixtures_have_the_same_bytes):
    begin = time.monotonic()
    test()
    print(f"{test.__name__.replace('_', ' ')}: {time.monotonic() - begin:.1f} s", flush=True)
