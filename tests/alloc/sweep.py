"""Every allocation of every program fails once: no crash, exit status 6 and a sentence, nothing left.

    sweep.py BIN_DIR FIXTURES_DIR FAIL_ALLOC_LIBRARY HOST [SCENARIO …]

A program runs once undisturbed; fail_alloc.c hears its allocations and tells them apart by their call
stacks. Of each call stack that no run of the program before has had the first, the second and the last
allocation then fail, alone, and the first with all that come after it. A run that gets over it (memory that the C library, zlib or a pool can do
without) must give the very bytes of the undisturbed one. What fails before main is not looked at.
"""
import functools
import gzip
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter, OrderedDict

import nibabel
import numpy as np

bin_dir, fixtures, library, host = (pathlib.Path(w).resolve() for w in sys.argv[1:5])
chosen = sys.argv[5:]
scratch = tempfile.TemporaryDirectory(prefix="vnet-alloc-")
folder = pathlib.Path(scratch.name)
NONE, ONE, ONWARD = range(3)
MEMORY = 6
# What a run says of its time and of its memory differs from run to run.
UNSTEADY = re.compile(rb'("[a-z_]*(?:seconds|resident_bytes|started)"): *(?:\[[^]]*\]|\{[^}]*\}|[^,}\n]*)'
                      rb'|(?<=,)\d+\.\d+(?=\n)|(?<=done in )\d+\.\d+(?= s)')
NUMBERS = re.compile(rb"()\d[\d.]*")
swept = {}  # call stacks, by program


# ---- inputs ----


def tool(name, *arguments):
    done = subprocess.run([bin_dir / name, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return arguments[-1]


def blob(path, shape, spacing=1.0):
    x, y, z = (np.linspace(-1, 1, n) for n in shape)
    value = 120 * np.exp(-2 * (x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2))
    nibabel.save(nibabel.Nifti1Image(np.round(value).astype(np.int16), np.diag([spacing] * 3 + [1])), path)
    return path


def inputs_make():
    labels = '[{"value":0,"name":"rest"},{"value":1,"name":"one","color":"#ff0000"},{"value":2,"name":"two"}]'
    tool("vnet-model", "--member", "monai", "--width", 2, "--stages", 3, "--classes", 3, "--patch", "8x8x8",
         "--orientation", "RAS", "--spacing", "1.5 1.5 1.5", "--intensity", "percentile 0.5 99.5",
         "--labels", labels, "-o", folder / "net.onnx")
    tool("vnetc", folder / "net.onnx", "-q", "-o", folder / "net.plan")
    tool("vnetc", fixtures / "models" / "outputs-several.onnx", "--topology", "any", "-q", "-o", folder / "several.plan")
    for name in ("channels4", "regions"):
        tool("vnetc", fixtures / "scan" / f"{name}.onnx", "--topology", "any", "-q", "-o", folder / f"{name}.plan")
    for number in range(4):
        blob(folder / f"case_000{number}.nii.gz", (14, 12 + number % 2, 10))
    (folder / "scans").mkdir()
    for name in "ab":
        blob(folder / "scans" / f"{name}.nii.gz", (14, 12, 10))
    (folder / "list.txt").write_text(f"# two\n{folder}/scans/b.nii.gz\n{folder}/scans/a.nii.gz\n")
    blob(folder / "scan.nii.gz", (14, 12, 10))
    nibabel.save(nibabel.Nifti1Pair(np.arange(504, dtype=np.int16).reshape(9, 8, 7), np.eye(4)), folder / "pair.img")
    nibabel.save(nibabel.MGHImage(np.arange(504, dtype=np.float32).reshape(9, 8, 7), np.eye(4)), folder / "s.mgz")
    nrrd = "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 9 8 7\nspace directions: " \
        "(1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\nendian: little\nencoding: gzip\n\n"
    (folder / "s.nrrd").write_bytes(nrrd.encode() + gzip.compress(np.arange(504, dtype="<i2").tobytes()))
    (folder / "heads").mkdir()
    for number in range(2):
        x, y, z = np.ogrid[-8:8, -8:8, -8:8]
        r = x**2 + (y * (1 + 0.2 * number)) ** 2 + z**2
        head = np.select([r < 18, r < 31, r < 44], [2, 3, 502], 0).astype(np.int32)
        nibabel.save(nibabel.Nifti1Image(head, np.diag([-12, 12, 12, 1])), folder / "heads" / f"{number}.nii.gz")
    rows = ["image_t1;t2,label,split"]
    for number, split in enumerate(["train", "train", "validation"]):
        image = blob(folder / f"case{number}.nii.gz", (12 + number, 12, 12))
        values = np.asarray(nibabel.load(image).dataobj)
        nibabel.save(nibabel.Nifti1Image(np.stack([values, 9 - values], 3), np.eye(4)), folder / f"two{number}.nii.gz")
        nibabel.save(nibabel.Nifti1Image((values > 60).astype(np.uint8), np.eye(4)), folder / f"label{number}.nii.gz")
        files = f"case{number}.nii.gz; case{number}.nii.gz" if number == 1 else f"two{number}.nii.gz"
        rows.append(f"{files},label{number}.nii.gz,{split}")
    (folder / "cases.csv").write_text("\n".join(rows) + "\n")


# ---- runs ----


class Server:
    """A program that waits before main and is forked for every order."""

    def __init__(self, command):
        order, self.order = os.pipe()
        self.reply, reply = os.pipe()
        environment = {**os.environ, "LD_PRELOAD": str(library), "FAIL_ALLOC_PIPES": f"{order},{reply}",
                       "MALLOC_PERTURB_": "165", "LC_ALL": "C"}
        self.process = subprocess.Popen(list(map(str, command)), pass_fds=(order, reply), env=environment,
                                        stdin=subprocess.DEVNULL)
        os.close(order)
        os.close(reply)

    def run(self, work, site=0, nth=0, mode=NONE):
        os.write(self.order, struct.pack("=QII496s", site, nth, mode, os.fsencode(work)))
        answer = os.read(self.reply, 4)
        assert len(answer) == 4, "the program has gone"
        return struct.unpack("=i", answer)[0]

    def close(self):
        os.close(self.order)
        self.process.wait(10)
        os.close(self.reply)


def steady(data, unsteady=UNSTEADY):
    return data if b"\0" in data[:200] else unsteady.sub(rb"\1#", data)


def tree(work):
    """Every file below, by name."""
    return {str(p.relative_to(work)): steady(p.read_bytes()) for p in sorted(work.rglob("*")) if p.is_file()}


@functools.cache
def function_at(module, offset):
    done = subprocess.run(["addr2line", "-f", "-e", module, hex(offset - 1)], capture_output=True, text=True)
    return done.stdout.split("\n")[0] if done.returncode == 0 else f"{module}+{offset:#x}"


def site_text(work):
    """The functions on the stack, from the allocation on."""
    names = []
    for line in pathlib.Path(f"{work}.site").read_text().splitlines():
        module, _, rest = line.partition("(")
        inside = rest.partition(")")[0]
        if "fail_alloc" in module:
            continue
        if inside.startswith("+") or not inside:
            inside = function_at(module, int(inside[1:] or "1", 16))
        names.append(inside.partition("+")[0])
    return " < ".join(names[:9])


class Scenario:
    """command: {} is the folder of the inputs. begin: files that lie in the working folder before the run.
    kept: what a failed run may leave, as a function of the file's name, its bytes and the undisturbed bytes."""

    def __init__(self, name, command, begin=None, kept=lambda name, data, whole: False, unsteady=UNSTEADY):
        self.name, self.begin, self.kept, self.unsteady = name, begin or {}, kept, unsteady
        self.command = [bin_dir / command[0], *(w.replace("{}", str(folder)) for w in command[1:])]

    def work(self):
        work = folder / f"work-{self.name}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        for name, data in self.begin.items():
            (work / name).write_bytes(data)
        pathlib.Path(f"{work}.site").unlink(missing_ok=True)
        return work

    def outcome(self, work):
        """The files that a run has left, and what it said."""
        return tree(work), [steady(pathlib.Path(f"{work}.{end}").read_bytes(), self.unsteady) for end in ("out", "err")]

    def fault(self, work, status, undisturbed):
        """What is wrong with a disturbed run; None: nothing."""
        files, outs = self.outcome(work)
        if os.WIFSIGNALED(status):
            return f"signal {signal.Signals(os.WTERMSIG(status)).name}: {outs[1].decode()[-200:]}"
        code = os.WEXITSTATUS(status)
        if code == 0:
            if files != undisturbed[0]:
                differ = sorted(n for n in files.keys() | undisturbed[0].keys() if files.get(n) != undisturbed[0].get(n))
                return f"status 0 with other results: {' '.join(differ)}"
            if outs != undisturbed[1]:
                return f"status 0 with other words: {outs}"
            return None
        line = outs[1].decode(errors="replace").rstrip("\n").split("\n")[-1]
        if code != MEMORY:
            return f"exit status {code}: {line}"
        if not re.match(r"[a-z-]+: \S+ \S+", line):
            return f"no sentence: {outs[1]!r}"
        for name, data in files.items():
            if name in self.begin and data == steady(self.begin[name]):
                continue
            if pathlib.Path(name).name.startswith(".") or not self.kept(name, data, undisturbed[0].get(name)):
                return f"{name} is left behind"
        missing = [n for n in self.begin if n not in files]
        return f"{missing} are gone" if missing else None

    def sweep(self):
        begin = time.monotonic()
        server, work = Server(self.command), self.work()
        status = server.run(work)
        said = pathlib.Path(f"{work}.err").read_text()
        assert status == 0, f"{self.name}: undisturbed: {status} {said}"
        heard = pathlib.Path(f"{work}.heard").read_bytes()
        sites = Counter(struct.unpack(f"={len(heard) // 8}Q", heard))
        undisturbed = self.outcome(work)
        faults, ends, unmet = OrderedDict(), Counter(), 0
        known = swept.setdefault(self.command[0], set())
        fresh = {site: count for site, count in sites.items() if site not in known}
        known.update(sites)
        for site, count in fresh.items():
            for nth, mode in [(n, ONE) for n in sorted({0, min(1, count - 1), count - 1})] + [(0, ONWARD)]:
                work = self.work()
                status = server.run(work, site, nth, mode)
                if not pathlib.Path(f"{work}.site").read_bytes():
                    unmet += nth == 0  # how often a thread comes by may differ
                    continue
                ends["got over" if status == 0 else "refused"] += 1
                wrong = self.fault(work, status, undisturbed)
                if wrong:
                    faults.setdefault((wrong, site_text(work)), []).append((nth, mode))
        server.close()
        total = sum(sites.values())
        print(f"{self.name}: {total} allocations, {len(sites)} call stacks, {len(fresh)} of them new: {ends['refused']} refused, {ends['got over']} "
              f"got over, {unmet} not met again, {len(faults)} faults, {time.monotonic() - begin:.1f} s", flush=True)
        for (wrong, where), orders in faults.items():
            print(f"  WRONG: {wrong}\n    at {where} {orders}", flush=True)
        assert unmet * 20 <= len(sites), "the allocations are not those of the undisturbed run"
        return len(faults)


def failed_row(name, data, whole):
    """Of many scans those that were finished stay; rows say which were not, and why."""
    return data == whole or (name.endswith(".csv") and b"memory" in data)


def scenarios():
    run = ["vnet-run", "{}/net.plan", "{}/scan.nii.gz", "--threads", "2"]
    yield Scenario("model", ["vnet-model", "--member", "monai", "--width", "2", "--stages", "3", "--patch", "8x8x8", "--float16",
                             "--spacing", "1 1 1", "-o", "m.onnx"])
    yield Scenario("vnetc", ["vnetc", "{}/net.onnx", "-o", "p.plan"])
    yield Scenario("vnetc-any", ["vnetc", str(fixtures / "models" / "shape-arithmetic.onnx"), "--topology", "any", "-q",
                                 "-d", "isnbfck", "-o", "p.plan"])
    yield Scenario("vnetc-name", ["vnetc", str(fixtures / "models" / "functions-as-arithmetic.onnx"), "--topology", "any",
                                  "-q", "-o", "p.plan"])
    yield Scenario("plan", ["vnet-plan", "{}/net.plan", "--isa", "best"])
    yield Scenario("bench", ["vnet-bench", "{}/net.plan", "--repeat", "1", "--threads", "2", "--json"], unsteady=NUMBERS)
    yield Scenario("run", [*run, "-o", "o.nii.gz"])
    yield Scenario("run-all", [*run, "-q", "-o", "o.nii", "--scores", "s.nii.gz", "--report", "r.json", "--csv", "c.csv",
                               "--picture", "p.png", "--largest-component", "--mirror", "w", "--json"])
    yield Scenario("channels", ["vnet-run", "{}/channels4.plan", "{}/case_0000.nii.gz", "-o", "o.nii", "--match-grids", "--json",
                                "--threads", "2"])
    yield Scenario("regions", ["vnet-run", "{}/regions.plan", "{}/scan.nii.gz", "-o", "o.nii", "--regions", "r.nrrd", "-q",
                               "--threads", "2"])
    yield Scenario("average", ["vnet-run", "{}/net.plan,{}/net.plan", "{}/scan.nii.gz", "-o", "o.nii", "--scores", "s.nii", "-q",
                               "--threads", "2"])
    yield Scenario("run-xml", ["vnet-run", "--xml"])
    yield Scenario("tensor", ["vnet-run", "{}/several.plan", "--tensor", str(tensor()), "-o", "0.npy", "-o", "1.npy", "-o", "2.npy"])
    yield Scenario("folder", ["vnet-run", "{}/net.plan", "{}/scans", "--output-dir", "out", "--threads", "1"], kept=failed_row)
    training = ["--width", "2", "--stages", "2", "--model-patch", "16x16x16", "--steps", "2", "--every", "1", "--threads", "1", "-q"]
    generator = ["vnet-train", "--labels", "{}/heads", "--patch", "8x8x8", "--spacing", "12", *training, "-o", "m.onnx"]
    yield Scenario("train-labels", generator, kept=published)
    begin = begun([*generator, "--steps", "4", "--log", "log.csv"])
    yield Scenario("resume", [*generator, "--steps", "4", "--log", "log.csv", "--resume"], begin=begin, kept=published)
    yield Scenario("train-data", ["vnet-train", "--data", "{}/cases.csv", "--classes", "2", "--patch", "8x8x8", *training,
                                  "--steps", "1", "--validate-every", "1", "--log", "log.csv", "--charts", "c", "-o", "m.onnx"], kept=published)
    yield Scenario("train-plan", ["vnet-train", "--plan", "{}/cases.csv", "--classes", "2", "--memory-limit", "1G"])
    yield Scenario("list", ["vnet-run", "{}/net.plan", "--list", "{}/list.txt", "--output-dir", "out", "-q", "--threads", "1"], kept=failed_row)


def published(name, data, whole):
    """The trainer publishes model, checkpoint, log and charts as it goes, each whole."""
    return True


def begun(command):
    """What a training of 4 steps has left that was stopped after 2."""
    work = folder / "begun"
    work.mkdir()
    words = [w.replace("{}", str(folder)) for w in command]
    process = subprocess.Popen([bin_dir / words[0], *words[1:]], cwd=work)
    while process.poll() is None and not (work / "m.onnx.ckpt").exists():
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) in (0, 7)
    return {p.name: p.read_bytes() for p in work.iterdir()}


def tensor():
    return fixtures / "golden" / "outputs-several.in.npy"


def host_sweep(scan, result):
    """The libraries, in a host: host.c does there what Scenario does here, and counts what is left in memory."""
    (folder / "host").mkdir(exist_ok=True)
    done = subprocess.run([host, folder / "net.plan", scan, folder / "host", result], capture_output=True, text=True,
                          env={**os.environ, "MALLOC_PERTURB_": "165"})
    print(f"host, {scan.name} to {result}: {done.stdout}", end="", flush=True)
    return done.returncode != 0


inputs_make()
faults = 0
for scan, result in [] if chosen else [("scan.nii.gz", "l.nii.gz"), ("pair.img", "l.seg.nrrd"), ("s.nrrd", "l.nrrd"), ("s.mgz", "l.mgz")]:
    faults += host_sweep(folder / scan, result)
for scenario in scenarios():
    if not chosen or scenario.name in chosen:
        faults += scenario.sweep()
assert not faults, f"{faults} faults"
