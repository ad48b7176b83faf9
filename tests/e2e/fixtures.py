"""Every model of tests/fixtures/manifest.txt through vnetc and vnet-run.

    fixtures.py BIN_DIR FIXTURES_DIR [OPTION…]

A model marked `run` compiles, is recognised as the manifest says, and gives ONNX Runtime's output
(golden/NAME.out.npy, thinned by pool.py) within 1e-4 of the output's range, with equal argmax in
99.99 % of voxels, on every instruction set of this machine; and the same bytes for 1, 2, 3 and 4
threads and when run again (1 and 3 on all but the widest instruction set). A model marked `refuse` is refused in one line that holds the manifest's
words, with a documented exit status and no plan left behind. Options go to vnetc, behind each model's own; with them
only what runs is looked at.
"""
import concurrent.futures
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

import numpy as np

sys.path.insert(0, sys.argv[2])
import pool  # noqa: E402  (of the fixtures' folder)

ISAS = []  # those of the build that run here, the best one last
RANGE_TOLERANCE, ARGMAX_SHARE = 1e-4, 0.9999
REFUSALS = {2, 3, 4, 5, 6}


def call(*words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=600)
    return done.returncode, done.stdout, done.stderr.strip()


def compare(got, want):
    """What is wrong, or None."""
    if got.shape != want.shape:
        return f"shape {got.shape}, expected {want.shape}"
    if np.issubdtype(want.dtype, np.integer):
        share = np.mean(got == want)
        return None if share >= ARGMAX_SHARE else f"labels equal in {share:.2%}"
    worst = np.abs(got.astype(np.float64) - want).max() / max(np.ptp(want), 1e-30)
    if not worst <= RANGE_TOLERANCE:
        return f"differs by {worst:.1e} of the range"
    axis = 1 if want.ndim in (3, 4, 5) else want.ndim - 1
    if want.shape[axis] > 1:
        share = np.mean(got.argmax(axis) == want.argmax(axis))
        if share < ARGMAX_SHARE:
            return f"argmax equal in {share:.2%}"
    return None


def isas_find(bin_dir, fixtures, models, scratch):
    plan = scratch / "isas.plan"
    call(bin_dir / "vnetc", models / "prelu-one.onnx", "-o", plan, "--topology", "any")

    def run(isa):
        return call(bin_dir / "vnet-run", plan, "--tensor", fixtures / "golden" / "prelu-one.in.npy", "-o",
                    scratch / "isas.npy", "--isa", isa)

    names = run("none")[2].split("this build's: ")[1].split(", ")
    ISAS.extend(isa for isa in reversed(names) if isa != "ref" and run(isa)[0] == 0)


def goldens(fixtures, name):
    """The input, and every output's golden: NAME.out.npy, NAME.out1.npy …"""
    folder = fixtures / "golden"
    outputs = [folder / f"{name}.out.npy"]
    while (more := folder / f"{name}.out{len(outputs)}.npy").exists():
        outputs.append(more)
    return folder / f"{name}.in.npy", outputs


def check_run(bin_dir, fixtures, models, name, options, expected, scratch):
    plan = scratch / f"{name}.plan"
    status, out, err = call(bin_dir / "vnetc", models / f"{name}.onnx", "-o", plan,
                            *shlex.split(options), *sys.argv[3:])
    if status:
        return f"vnetc: {err}"
    if expected not in out:
        return f"recognised as '{out.strip()}', expected '{expected}'"
    source, wanted = goldens(fixtures, name)
    results = [scratch / f"out{i}.npy" for i in range(len(wanted))]
    for isa in ISAS:
        first = None
        for threads in (1, 2, 3, 4, 4) if isa == ISAS[-1] else (1, 3):
            status, _, err = call(bin_dir / "vnet-run", plan, "--tensor", source, "--isa", isa,
                                  "--threads", threads, "--quiet",
                                  *(word for r in results for word in ("-o", r)))
            if status:
                return f"vnet-run: {err}"
            data = [r.read_bytes() for r in results]
            if first is None:
                first = data
                for result, want in zip(results, wanted):
                    wrong = compare(pool.thin(np.load(result)), np.load(want))
                    if wrong:
                        return f"{isa}: {want.name}: {wrong}"
            elif data != first:
                return f"{isa}: other bytes with {threads} threads"
    return None


def check_refuse(bin_dir, fixtures, models, name, options, expected, scratch):
    plan = scratch / f"{name}.plan"
    status, _, err = call(bin_dir / "vnetc", models / f"{name}.onnx", "-o", plan,
                          *shlex.split(options), *sys.argv[3:])
    if status not in REFUSALS:
        return f"exit status {status}: {err}"
    if "\n" in err or expected.lower() not in err.lower():
        return f"expected one line with '{expected}', got '{err}'"
    if list(scratch.glob(f"*{name}*")):
        return "a file was left behind"
    return None


def main():
    bin_dir, fixtures = (pathlib.Path(p) for p in sys.argv[1:3])
    home = tempfile.TemporaryDirectory()
    models = pathlib.Path(home.name) / "models"
    shutil.copytree(fixtures / "models", models, symlinks=True)
    pool.write(models)
    isas_find(bin_dir, fixtures, models, pathlib.Path(home.name))

    def judge(line):
        name, what, options, expected = (field.strip() for field in line.split("|"))
        check = {"run": check_run, "refuse": check_refuse}[what]
        with tempfile.TemporaryDirectory() as scratch:
            wrong = check(bin_dir, fixtures, models, name, options, expected, pathlib.Path(scratch))
        print(f"{'FAIL' if wrong else 'ok  '} {what:6} {name}{': ' + wrong if wrong else ''}",
              flush=True)
        return wrong is not None

    lines = (fixtures / "manifest.txt").read_text().splitlines()
    cases = [line for line in lines if line.strip() and not line.startswith("#")]
    if sys.argv[3:]:
        cases = [line for line in cases if line.split("|")[1].strip() == "run"]
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as workers:
        results = list(workers.map(judge, cases))
    failures, total = sum(results), len(results)
    print(f"{total - failures} of {total} fixtures as the manifest says")
    return 1 if failures or not total else 0


if __name__ == "__main__":
    sys.exit(main())
