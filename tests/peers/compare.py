"""Full-size networks: this project's output against ONNX Runtime's, or against float64.

    python compare.py --build ../../build --scratch FOLDER [vnet vnet-2016 …] [--float64]

Every network as each exporter writes it. Asserted: largest difference at most 1e-4 of the output's
range, argmax equal in 99.99 % of voxels. --float64 takes PyTorch in double precision for the
reference (some minutes per network, kept in the scratch folder) and shows ONNX Runtime's error, too.
"""

import argparse
import pathlib
import shlex
import subprocess
import sys
import time

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F

import export
import models
import networks

RANGE_TOLERANCE, ARGMAX_SHARE = 1e-4, 0.9999
SLAB_BYTES = 2 << 30


class DoubleConv(torch.nn.Module):
    """A convolution in float64, slab by slab: PyTorch unfolds the whole input, 34 GB for one layer."""

    def __init__(self, conv):
        super().__init__()
        self.conv = conv

    def forward(self, x):
        conv = self.conv
        kernel, stride = conv.kernel_size[0], conv.stride[0]
        reach = (kernel - 1) * conv.dilation[0] + 1
        x = F.pad(x, [p for p in conv.padding[::-1] for _ in (0, 1)])
        depth = (x.shape[2] - reach) // stride + 1
        row_bytes = 8 * x.shape[1] * kernel**3 * x.shape[3] * x.shape[4] // stride**2
        rows = max(1, SLAB_BYTES // row_bytes)
        return torch.cat([
            F.conv3d(x[:, :, z * stride : (min(z + rows, depth) - 1) * stride + reach], conv.weight, conv.bias, stride,
                     dilation=conv.dilation, groups=conv.groups)
            for z in range(0, depth, rows)], 2)


def in_doubles(net):
    """The same network in float64."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.Conv3d) and not isinstance(module, DoubleConv):
                setattr(module, name, DoubleConv(child))
    return net.double()


def run_float64(case):
    kept = case.scratch / f"{case.stem}-float64.npy"
    if not kept.exists():
        with torch.inference_mode(), models.appears(kept) as path:
            np.save(path, in_doubles(case.net())(case.scan().double()).numpy())
    return np.load(kept)


def run_ort(path, scan, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: scan})[0]


def run_product(path, scan, args):
    """What vnetc and vnet-run make of it, and the topology that vnetc names."""
    folder = path.parent
    plan, given, result = (folder / f"{path.stem}{ending}" for ending in (".plan", ".in.npy", ".out.npy"))
    np.save(given, scan)
    run = [args.build / "vnet-run", plan, "--tensor", given, "-o", result, "--threads", str(args.threads), "--quiet"]
    said = call([args.build / "vnetc", path, "-o", plan, *shlex.split(args.vnetc_options)])
    call(run + shlex.split(args.run_options))
    output = np.load(result)
    for file in (plan, given, result):
        file.unlink()
    return output, said.strip().splitlines()[0] if said.strip() else ""


def call(words):
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{pathlib.Path(words[0]).name}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def difference(got, want):
    """Largest difference as a share of the output's range, and the share of voxels with equal argmax."""
    if got.shape != want.shape:
        raise RuntimeError(f"shape {got.shape}, expected {want.shape}")
    worst = np.abs(got.astype(np.float64) - want).max() / np.ptp(want)
    return worst, np.mean(got.argmax(1) == want.argmax(1))


def find_program(build, name):
    """The folder that holds the programs: `build` itself, its bin/ or its tools/."""
    for folder in (build, build / "bin", build / "tools"):
        if (folder / name).is_file():
            return folder
    sys.exit(f"no {name} in {build}: build the project first")


def compare(case, args, rows):
    """One network by every exporter."""
    scan = case.scan().numpy()
    for exporter in args.exporters:
        path = case.onnx(exporter)
        ort = run_ort(path, scan, args.threads)
        want = run_float64(case) if args.float64 else ort
        if args.float64:
            rows.append((case.name, exporter, "ONNX Runtime", *difference(ort, want), ""))
        started = time.monotonic()
        try:
            got, topology = run_product(path, scan, args)
            rows.append((case.name, exporter, "this project", *difference(got, want), topology))
        except RuntimeError as error:
            rows.append((case.name, exporter, "this project", float("nan"), float("nan"), str(error)))
        print(f"{case.name} {exporter}: {time.monotonic() - started:.0f} s with compiling and loading", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="NETWORK", help=f"default: all of {', '.join(models.CASES)}")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "build")
    parser.add_argument("--scratch", required=True, help="holds the models, about 3 GB at full size")
    parser.add_argument("--size", type=export.size, default=networks.FULL_SIZE)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--exporters", nargs="+", choices=["classic", "dynamo"], default=["classic", "dynamo"])
    parser.add_argument("--float64", action="store_true")
    parser.add_argument("--vnetc-options", default="", metavar="TEXT")
    parser.add_argument("--run-options", default="", metavar="TEXT")
    args = parser.parse_args()
    unknown = set(args.cases) - set(models.CASES)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(models.CASES)}")
    args.build = find_program(args.build, "vnetc")
    torch.set_num_threads(args.threads)

    rows = []
    for name in args.cases or models.CASES:
        compare(models.Case(name, args.scratch, args.size, args.width), args, rows)
    print(f"{'network':12} {'exporter':8} {'engine':12}   of range  argmax equal   "
          f"({'x'.join(map(str, args.size))}, width {args.width}, against {'float64' if args.float64 else 'ONNX Runtime'})")
    failed = False
    for name, exporter, engine, worst, share, note in rows:
        good = worst <= RANGE_TOLERANCE and share >= ARGMAX_SHARE
        failed |= engine == "this project" and not good
        print(f"{name:12} {exporter:8} {engine:12} {worst:10.1e} {100 * share:11.4f} %   {'ok  ' if good else 'FAIL'} {note}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
