"""What vnet-run, vnetc and vnet-plan can no longer do once they read an input.

    run_sandbox.py BIN_DIR FIXTURES_DIR INTRUDER

INTRUDER is preloaded (intruder.c): it stands for code that took the program over, and tries one
thing while the input is read. Each attempt is made twice: with --no-sandbox it must succeed, or it
would show nothing. The kernel is asked here, not through the programs, what it has.
"""
import ctypes
import json
import os
import pathlib
import platform
import signal
import subprocess
import sys
import tempfile

import nibabel
import numpy as np

bin_dir, fixtures, intruder = (pathlib.Path(a) for a in sys.argv[1:4])
scratch = tempfile.TemporaryDirectory(prefix="vnet-sandbox-")
folder = pathlib.Path(scratch.name)
libc = ctypes.CDLL(None, use_errno=True)
LANDLOCK, RESTRICT_SELF = 444, 446
SECCOMP = {"x86_64": 317, "aarch64": 277}.get(platform.machine())
landlock = max(libc.syscall(LANDLOCK, None, 0, 1), 0)
kill = ctypes.c_uint32(0x80000000)
seccomp = SECCOMP and libc.syscall(SECCOMP, 2, 0, ctypes.byref(kill)) == 0
if not landlock and not seccomp:
    print("this kernel has neither Landlock nor seccomp")
    sys.exit(77)
inside, outside = folder / "in", folder / "outside"
plan, scan, secret = inside / "levels.plan", inside / "scan.nii.gz", outside / "secret"


def call(program, *words, **intrusion):
    """Exit status, standard output and standard error, with the intruder on board."""
    more = {f"INTRUDER_{key.upper()}": str(value) for key, value in intrusion.items()}
    environment = dict(os.environ, LD_PRELOAD=str(intruder)) if more else dict(os.environ)
    done = subprocess.run([str(w) for w in (bin_dir / program, *words)], capture_output=True,
                          text=True, timeout=60, env=environment | more, cwd=folder / "cwd")
    return done.returncode, done.stdout, done.stderr


def prepare():
    for name in ("in", "outside", "out", "cwd"):
        (folder / name).mkdir(exist_ok=True)
    values = np.random.default_rng(5).choice([-200, 0, 100], (12, 12, 12)).astype(np.float32)
    for ending in (".nii.gz", ".hdr"):
        kind = nibabel.Nifti1Pair if ending == ".hdr" else nibabel.Nifti1Image
        nibabel.save(kind(values, np.eye(4)), inside / f"scan{ending}")
    secret.write_text("secret")
    status, _, err = call("vnetc", fixtures / "scan" / "levels.onnx", "-o", plan, "--topology", "any")
    assert status == 0, err


PROGRAMS = {
    "vnet-run": (scan, [plan, scan, "-o", folder / "out" / "labels.nii.gz", "-q"]),
    "vnetc": (fixtures / "scan" / "levels.onnx",
              [fixtures / "scan" / "levels.onnx", "-o", folder / "out" / "a.plan",
               "--topology", "any"]),
    "vnet-plan": (plan, [plan]),
}


def attempt(program, what, path, *more):
    """What became of it: "done", the name of an error, or of the signal that ended the program."""
    at, words = PROGRAMS[program]
    status, _, err = call(program, *words, *more, do=what, path=path, at=at)
    if status < 0:
        return signal.Signals(-status).name
    told = [line.split()[1] for line in err.splitlines() if line.startswith("intruder: ")]
    assert len(told) <= 1, err
    return told[0] if told else "done" if what == "exec" else "silent"


FILES = [
    ("read", secret, {"EACCES"}),
    ("read", "/etc/passwd", {"EACCES"}),
    ("read", f"/proc/{os.getpid()}/environ", {"EACCES", "EPERM"}),
    ("list", outside, {"EACCES"}),
    ("write", secret, {"EACCES"}),
    ("create", outside / "new", {"EACCES"}),
    ("remove", outside / "spare", {"EACCES"}),
    ("mkdir", outside / "folder", {"EACCES"}),
    ("move", outside / "moved", {"EACCES", "EXDEV"}),
]
CALLS = [
    ("truncate", outside / "spare", {"ENOSYS"}),
    ("chmod", outside / "spare", {"ENOSYS"}),
    ("symlink", folder / "out" / "link", {"ENOSYS"}),
    ("code", "", {"ENOSYS"}),
    ("code of data", "", {"ENOSYS"}),
    ("terminal", "", {"ENOSYS"}),
] + [(what, "", {"SIGSYS"}) for what in ("socket", "connect", "exec", "fork", "system", "trace",
                                          "signal")]


def refresh():
    prepare_needed = not scan.exists() or not plan.exists()
    (outside / "spare").write_text("spare")
    for path in (outside / "new", outside / "moved", folder / "out" / "link"):
        path.unlink(missing_ok=True)
    if (outside / "folder").exists():
        (outside / "folder").rmdir()
    if prepare_needed:
        prepare()


def intruder_is_stopped():
    attempts = (FILES if landlock else []) + (CALLS if seccomp else [])
    for program in PROGRAMS:
        for what, path, denied in attempts:
            if what == "move" and program == "vnetc":
                continue  # not with a fixture
            refresh()
            got = attempt(program, what, path)
            assert got in denied, (program, what, path, got)
            assert secret.read_text() == "secret" and (outside / "spare").read_text() == "spare"
            if program == "vnet-run":
                if "terminal" == what:
                    continue  # standard error is a pipe to the test, FIONREAD is allowed to fail
                refresh()
                got = attempt(program, what, path, "--no-sandbox")
                assert got == "done", (program, what, got)
    refresh()
    assert attempt("vnet-run", "thread", "") == "done"  # pool and readers go on starting them


def report_tells_the_truth():
    def told(*more, **intrusion):
        status, out, err = call("vnet-run", plan, scan, "-o", folder / "out" / "labels.nii.gz",
                                "--json", *more, **intrusion)
        assert status == 0, err
        return json.loads(out)["sandbox"]

    both = [f"landlock {landlock}"] * bool(landlock) + ["seccomp"] * bool(seccomp)
    assert told() == ", ".join(both)
    assert told("--no-sandbox") == "none"
    assert told(abi=0) == "none"  # an old kernel's answers


def every_version_of_landlock():
    for version in range(1, landlock + 1):
        _, words = PROGRAMS["vnet-run"]
        for what, path, denied in FILES:
            refresh()
            status, _, err = call("vnet-run", *words, do=what, path=path, at=scan, abi=version)
            assert status == 0 or what == "move", err
            told = err.split("intruder: ")[1].split()[0]
            assert told in denied, (version, what, told)


def refusal_is_a_sentence():
    for number in [RESTRICT_SELF] * bool(landlock) + [SECCOMP] * bool(landlock and seccomp):
        for program, (_, words) in PROGRAMS.items():
            if number == SECCOMP:
                continue  # refused from the first question on: it is not there
            status, out, err = call(program, *words, refuse=number)
            assert status == 5 and err.count("\n") == 1 and "--no-sandbox" in err, (status, err)
            status, _, err = call(program, *words, "--no-sandbox", refuse=number)
            assert status == 0, err


def ordinary_work_goes_on():
    """What lies outside the folders that one would think of first."""
    (folder / "alias").symlink_to(folder / "out")
    (inside / "alias.nii.gz").symlink_to(folder / "elsewhere.nii.gz")
    (folder / "elsewhere.nii.gz").write_bytes(scan.read_bytes())
    (folder / "list").write_text(f"{inside / 'alias.nii.gz'}\n{inside / 'scan.hdr'}\n")
    for words in (
        [scan, "-o", folder / "alias" / "a.nii.gz"],
        [scan, "-o", "here.nii.gz", "--scores", "p.nii", "--picture", "p.png", "--csv", "c.csv"],
        [inside / "scan.img", "-o", "pair.nii"],
        [inside / "alias.nii.gz"],
        ["--list", folder / "list", "--output-dir", folder / "new", "--picture"],
        ["--list", folder / "list", "--output-dir", folder / "new", "--picture", "--resume"],
    ):
        status, _, err = call("vnet-run", plan, *words, "-q")
        assert status == 0, (words, err)
    same = [folder / "out" / "a.nii.gz", folder / "cwd" / "here.nii.gz",
            folder / "new" / "scan.seg.nii.gz", inside / "alias.seg.nii.gz"]
    values = [nibabel.load(path).get_fdata() for path in same]
    assert all((v == values[0]).all() for v in values) and values[0].any()


prepare()
refresh()
intruder_is_stopped()
report_tells_the_truth()
every_version_of_landlock()
refusal_is_a_sentence()
ordinary_work_goes_on()
