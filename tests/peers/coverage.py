"""What is taken, how right and how fast: the table of the README.

    python coverage.py --scratch FOLDER [--size 64] [--time] [--exporter dynamo] [NAME | MODEL.onnx | FOLDER …]

Names are those of models.py and unets.py (default: all of them), exported here; models are taken as they
are. `recognised` compiles without an option, `any` with `--topology any`, and what is refused says why. The
difference from ONNX Runtime is the largest one of any output, as a share of that output's range; an
output of integers is compared exactly. Where it is too large and the network is known by its name, PyTorch
in double precision tells whose error it is, and the row says both. --time: both in turn, medians, ONNX
Runtime's time by ours.
"""

import argparse
import contextlib
import io
import pathlib
import statistics
import subprocess
import sys
import time

import numpy as np
import onnxruntime
import torch

import bench
import compare
import export
import models
import unets

RANGE_TOLERANCE, HALF_TOLERANCE, DYNAMIC = 1e-4, 1e-3, 16
TYPES = {"float": np.float32, "float16": np.float16, "double": np.float64, "int64": np.int64, "int32": np.int32,
         "int16": np.int16, "uint16": np.uint16, "int8": np.int8, "uint8": np.uint8}


def exported(name, args):
    """The path of a network that is known by its name."""
    target = args.scratch / f"{name}-{args.size}{'-dynamo' if args.exporter == 'dynamo' else ''}.onnx"
    if name in models.CASES:
        return case_of(name, args).onnx(args.exporter)
    if not target.exists():
        x = torch.randn(1, 1, *[args.size] * 3, generator=torch.Generator().manual_seed(1))
        with models.appears(target) as path, contextlib.redirect_stdout(io.StringIO()):
            export.export(unets.build(name), x, path, args.exporter)
    return target


def case_of(name, args):
    return models.Case(name, args.scratch, (args.size,) * 3)


def in_double(name, given, args):
    """What the network yields in double precision; None: it is not known by its name."""
    if name not in models.CASES and name not in unets.NETWORKS:
        return None
    net = case_of(name, args).net() if name in models.CASES else unets.build(name)
    with torch.inference_mode():
        results = compare.in_doubles(net)(torch.from_numpy(given).double())
    return [y.numpy() for y in (results if isinstance(results, (tuple, list)) else [results])]


def session_of(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def numbers(port, seed):
    """An input for ONNX Runtime: noise, or whole numbers where the model wants those."""
    shape = [n if isinstance(n, int) else 1 if i == 0 else DYNAMIC for i, n in enumerate(port.shape)]
    kind = TYPES[port.type.removeprefix("tensor(").removesuffix(")")]
    noise = np.random.default_rng(seed).standard_normal(shape)
    return (noise if np.issubdtype(kind, np.floating) else np.clip(noise * 50 + 100, 0, 250)).astype(kind)


def compiled(path, plan, session, args):
    """`recognised`, `any` or what vnetc says."""
    options = ["--patch", f"{DYNAMIC}x{DYNAMIC}x{DYNAMIC}"] if any(
        not isinstance(n, int) for port in session.get_inputs() for n in port.shape[1:]) else []
    for word, more in (("recognised", []), ("any", ["--topology", "any"])):
        done = subprocess.run([args.build / "vnetc", "-q", path, "-o", plan, *options, *more],
                              capture_output=True, text=True)
        if not done.returncode:
            return word
    return done.stderr.strip().removeprefix("vnetc: ")


def difference(got, want):
    if got.shape != want.shape:
        return float("nan")
    if not np.issubdtype(want.dtype, np.floating):
        return float(np.mean(got.astype(np.int64) != want.astype(np.int64)))
    want = want.astype(np.float64)
    return float(np.abs(got - want).max() / max(np.ptp(want), 1e-30))


def largest(got, want):
    return max(difference(g, w) for g, w in zip(got, want))


def judged(name, plan, session, args):
    """What is to be said of the difference, and whether it will do: engines compute half in half."""
    given = [numbers(port, i) for i, port in enumerate(session.get_inputs())]
    wanted = session.run(None, {p.name: x for p, x in zip(session.get_inputs(), given)})
    files = [args.scratch / f"coverage.in{i}.npy" for i in range(len(given))]
    results = [args.scratch / f"coverage.out{i}.npy" for i in range(len(wanted))]
    words = [args.build / "vnet-run", plan, "--quiet", "--threads", args.threads]
    for file, x in zip(files, given):
        np.save(file, x)
        words += ["--tensor", file]
    for file in results:
        words += ["-o", file]
    compare.call(words)
    got = [np.load(file) for file in results]
    worst = largest(got, wanted)
    limit = HALF_TOLERANCE if any(want.dtype == np.float16 for want in wanted) else RANGE_TOLERANCE
    exact = in_double(name, given[0], args) if worst > limit else None
    if not exact:
        return f"{worst:.1e}", worst <= limit
    ours, theirs = largest(got, exact), largest(wanted, exact)
    return f"{worst:.1e} (in double: ours {ours:.1e}, ONNX Runtime's {theirs:.1e})", ours <= limit


def ratio(path, plan, session, args):
    """ONNX Runtime's time by ours."""
    x = {port.name: numbers(port, i) for i, port in enumerate(session.get_inputs())}
    ours, theirs = bench.Product(plan, args.build, args.threads, None), []
    ours.round()  # finds out how many runs make a turn
    ours.times.clear()
    for _ in range(args.rounds):
        time.sleep(bench.COOL_SECONDS)
        ours.round()
        begun, times = time.perf_counter(), []
        time.sleep(bench.COOL_SECONDS)
        while len(times) < 2 or time.perf_counter() - begun < bench.TURN_SECONDS:
            started = time.perf_counter()
            session.run(None, x)
            times.append(1e3 * (time.perf_counter() - started))
        theirs.append(statistics.median(times[1:]))
    return statistics.median(theirs) / statistics.median(ours.times)


def row(name, path, args):
    plan = args.scratch / "coverage.plan"
    try:
        session = session_of(path, args.threads)
    except Exception as error:
        return "", f"ONNX Runtime: {str(error).splitlines()[0][:120]}", "", True
    verdict = compiled(path, plan, session, args)
    if verdict not in ("recognised", "any"):
        return "refused", verdict, "", True
    said, good = judged(name, plan, session, args)
    times = f"{ratio(path, plan, session, args):.1f}" if args.time else ""
    return verdict, said, times, good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="NAME")
    parser.add_argument("--scratch", type=pathlib.Path, required=True)
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "build")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--exporter", choices=["classic", "dynamo"], default="classic")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--time", action="store_true")
    args = parser.parse_args()
    args.build = compare.find_program(args.build, "vnetc")
    args.scratch.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)

    failed = False
    print(f"| network | taken | largest difference |{' times as fast |' if args.time else ''}")
    print(f"| --- | --- | --- |{' --- |' if args.time else ''}")
    for name in args.what or [*models.CASES, *unets.NETWORKS]:
        given = pathlib.Path(name)
        try:
            paths = sorted(given.glob("*.onnx")) if given.is_dir() else [given if given.exists() else exported(name, args)]
        except Exception as error:  # an exporter's own limits
            print(f"| {name} | | PyTorch's exporter: {str(error).splitlines()[0][:120]} |{' |' if args.time else ''}", flush=True)
            continue
        for path in paths:
            taken, said, times, good = row(name, path, args)
            failed |= not good
            title = path.stem if given.exists() else unets.TITLES.get(name, f"`{name}`")
            print(f"| {title} | {taken} | {said}{'' if good else ' WRONG'} |{f' {times} |' if args.time else ''}", flush=True)
    sys.exit(failed)


if __name__ == "__main__":
    main()
