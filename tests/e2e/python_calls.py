"""Checks of run_python.py: libraries, stopping, threads, errors, leaks."""
import ctypes
import gc
import os
import pathlib
import re
import subprocess
import sys
import threading
import time

import nibabel
import numpy as np
import vnet
from vnet import _abi

from python_help import OBLIQUE, SHAPE, SOURCE, VALUES, ball, call, folder, libraries, plan, raises, scan

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
        fields = re.findall(r"(\w+)(?:\[\d+\])*[,;]", body)
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
            "libvnet", "libvnet-segment", "libvnet-scan"}
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
    # A forked child, as multiprocessing makes them, has a model of its own.
    want = models[0].segment(VALUES, OBLIQUE).labels
    child = os.fork()
    if child == 0:
        os._exit(0 if np.array_equal(models[0].segment(VALUES, OBLIQUE).labels, want) else 1)
    assert os.waitpid(child, 0)[1] == 0 and np.array_equal(models[0].segment(VALUES, OBLIQUE).labels, want)
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


CHECKS = (structs_are_the_compilers, libraries_are_the_right_ones, errors_are_classes, nothing_leaks,
          stopping_is_quick, control_c_is_quick, threads_are_kept_apart)
