"""Unfinished outputs: two writers to one name, killed writers, living ones.

    run_parts.py BIN_DIR FIXTURES_DIR

The two writers run in PID namespaces of their own, where each is process 1 as it is in a container;
exit status 77 where none can be had, after everything else has passed.
"""
import gzip
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import nibabel
import numpy as np

bin_dir, fixtures = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
scratch = tempfile.TemporaryDirectory(prefix="vnet-parts-")
folder = pathlib.Path(scratch.name)
vnet_run, plan, out = bin_dir / "vnet-run", folder / "levels.plan", folder / "out.nii"
random.seed(11)

NAMESPACE = ["unshare", "--pid", "--fork"]
if os.geteuid():
    NAMESPACE += ["--user", "--map-root-user"]


def save(name, shape):
    values = np.random.default_rng(len(name)).integers(0, 4, shape).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / name)
    return folder / name


def hidden():
    return sorted(p.name for p in folder.iterdir() if p.name.startswith("."))


def start(scan, *more, before=()):
    return subprocess.Popen([*before, vnet_run, plan, scan, "-q", "-o", out, *more],
                            stderr=subprocess.PIPE, text=True)


def finish(process):
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, (process.returncode, err)


def wait_for_part(process, known=()):
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        new = [name for name in hidden() if name not in known and name.endswith(".part")]
        if new:
            return new[0]
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)
    raise AssertionError("nothing is written")


def prepare():
    done = subprocess.run([bin_dir / "vnetc", fixtures / "scan" / "levels.onnx", "-q", "-o", plan,
                           "--topology", "any"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def killed_writers_leave_nothing_for_long():
    scan = save("scan.nii", (60, 60, 50))
    begin = time.monotonic()
    finish(start(scan))
    whole, took = out.read_bytes(), time.monotonic() - begin
    left = 0
    for _ in range(8):
        process = start(scan, "--csv", folder / "out.csv")
        time.sleep(random.uniform(0, took))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        left += bool(hidden())
        assert out.read_bytes() == whole, "what was there is whole"
    process = start(scan)  # and once where it is certain to leave something
    wait_for_part(process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert hidden()
    finish(start(scan))
    assert out.read_bytes() == whole and not hidden(), hidden()
    print(f"left over by {left} of 8 killed at random", flush=True)


def living_writers_are_left_alone(before=()):
    """Stopped before it publishes, as one that is slow, or on another machine; others come by."""
    small, large = save("small.nii", (20, 20, 20)), save("large.nii", (200, 160, 120))
    killed = start(large)
    known = [wait_for_part(killed)]
    living = start(large, before=before)
    own = wait_for_part(living, known)
    group = [living.pid] + [int(p) for p in subprocess.run(["pgrep", "-P", str(living.pid)],
                                                           capture_output=True, text=True).stdout.split()]
    for pid in group:
        os.kill(pid, signal.SIGSTOP)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    try:
        finish(start(small))
        assert hidden() == [own], (hidden(), own)
        assert nibabel.load(out).shape == (20, 20, 20)
    finally:
        for pid in reversed(group):
            os.kill(pid, signal.SIGCONT)
    finish(living)
    assert nibabel.load(out).shape == (200, 160, 120) and not hidden()
    want = np.asanyarray(nibabel.load(large).dataobj)
    assert np.array_equal(np.asanyarray(nibabel.load(out).dataobj), want)


def others_files_stay():
    """A hidden file that only looks like one of ours, and what a planted link leads to."""
    scan, prize = save("scan.nii", (20, 20, 20)), folder / "prize"
    prize.write_text("not to be lost")
    stay = [".out.nii.part", ".out.nii.vnet-0123.part", ".out.nii.vnet-0123456789abcdeg.part",
            ".vnet-0123456789abcdef.partly", "out.nii.vnet-0123456789abcdef.part"]
    for name in stay:
        (folder / name).write_text("")
    link, fifo = folder / ".out.nii.vnet-00000000000000aa.part", folder / ".p.vnet-00000000000000bb.part"
    link.symlink_to(prize)
    os.mkfifo(fifo)
    finish(start(scan))
    assert prize.read_text() == "not to be lost"
    for path in [folder / name for name in stay] + [link, fifo]:
        path.lstat()
        path.unlink()


def long_names_fit():
    scan = save("scan.nii", (20, 20, 20))
    name = folder / ("n" * 251 + ".nii")
    done = subprocess.run([vnet_run, plan, scan, "-q", "-o", name], capture_output=True, text=True)
    assert done.returncode == 0 and name.exists() and not hidden(), done.stderr
    name.unlink()
    name = folder / ("n" * 252 + ".nii")  # this one does not: it is said before any work
    done = subprocess.run([vnet_run, plan, scan, "-q", "-o", name], capture_output=True, text=True)
    assert done.returncode == 3 and "too long" in done.stderr and not hidden(), done.stderr


def two_namespaces():
    """Each writer publishes a whole file, over and over; the last one stays; no reader ever sees
    another thing than a whole result."""
    first, second = save("first.nii", (60, 60, 60)), save("second.nii", (50, 60, 60))
    whole = {}
    for scan in (first, second):
        finish(start(scan))
        whole[scan] = out.read_bytes()
    out.unlink()
    seen, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            try:
                seen.add(out.read_bytes())
            except FileNotFoundError:
                pass
            time.sleep(0.001)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(4):
            writers = [start(scan, before=NAMESPACE) for scan in (first, second)]
            for writer in writers:
                finish(writer)
            assert out.read_bytes() in whole.values(), f"{out.stat().st_size} bytes are published"
    finally:
        stop.set()
        watcher.join()
    assert seen <= set(whole.values()), [len(x) for x in seen]
    assert not hidden(), hidden()


prepare()
possible = subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0
tests = [killed_writers_leave_nothing_for_long, living_writers_are_left_alone, others_files_stay,
         long_names_fit]
for test in tests + ([two_namespaces] if possible else []):
    begin = time.monotonic()
    test()
    print(f"{test.__name__.replace('_', ' ')}: {time.monotonic() - begin:.1f} s", flush=True)
if not possible:
    print("no PID namespace can be had: two writers in two of them are not tested")
    sys.exit(77)
living_writers_are_left_alone(NAMESPACE)
print("living writers of another namespace are left alone, too")
