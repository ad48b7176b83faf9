"""Times one network in every engine in turn, several rounds in one run.

    python bench.py --model vnet --size 64x128x128 --threads 2 --scratch FOLDER [--build ../../build]

Each engine lives in a process of its own, on the same cores, for all rounds: loading is not counted,
memory is that process's peak. Peers: ONNX Runtime; OpenVINO in float32 and as it comes; PyTorch eager
in the memory format that is faster. `--isa avx2` limits this runtime and those peers that can be
limited; the others are left out. The last line: `ratio to the fastest peer: N.NN`. Peers that compute
in less than float32 are timed but never the one compared with, unless --any-precision.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import time

MIB = 1 << 20
LIMITED = {"avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}, "avx512": {}}
COOL_SECONDS = 0.5  # an engine's threads may spin for a while after its turn
TURN_SECONDS = 1.0  # a turn is at least one run, and as many as fit


# ---- the engines: each yields a function that runs the network once, and what it computes in ----


def onnxruntime_engine(path, scan, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: scan}), "f32"


def openvino_engine(path, scan, threads, **precision):
    import openvino

    model = openvino.Core().compile_model(path, "CPU", {
        "PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, **precision})
    request = model.create_infer_request()
    computes_in = model.get_property("INFERENCE_PRECISION_HINT").to_string()
    return lambda: request.infer([scan], share_inputs=True, share_outputs=True), computes_in


def openvino_f32_engine(path, scan, threads):
    return openvino_engine(path, scan, threads, INFERENCE_PRECISION_HINT="f32")


def torch_engine(path, scan, threads):
    import torch

    import models

    torch.set_num_threads(threads)
    case = models.Case(**path)
    net, x = case.net(), torch.from_numpy(scan)

    def run(memory_format):
        with torch.inference_mode():
            net(x.contiguous(memory_format=memory_format))

    def seconds(memory_format):
        net.to(memory_format=memory_format)
        run(memory_format)
        started = time.perf_counter()
        run(memory_format)
        return time.perf_counter() - started

    best = min(torch.contiguous_format, torch.channels_last_3d, key=seconds)
    net.to(memory_format=best)
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the format that lost
    return lambda: run(best), f"f32 {str(best).removeprefix('torch.').removesuffix('_format')}"


PEERS = {
    "onnxruntime": onnxruntime_engine,
    "openvino f32": openvino_f32_engine,
    "openvino": openvino_engine,
    "torch": torch_engine,
}
LIMITABLE = ["openvino f32", "openvino", "torch"]


def serve(pipe, engine, path, scan_path, threads):
    """An engine's process: first its precision, or why it cannot; then for every message the median
    milliseconds of a turn; at None its peak memory."""
    import numpy

    try:
        run, precision = PEERS[engine](path, numpy.load(scan_path), threads)
        run()
    except RuntimeError as error:
        pipe.send(error)
        return
    pipe.send(precision)
    while pipe.recv() is not None:
        times, begun = [], time.perf_counter()
        while not times or time.perf_counter() - begun < TURN_SECONDS:
            started = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - started))
        pipe.send(statistics.median(times[1:] or times))  # the first one wakes the threads
    status = pathlib.Path("/proc/self/status").read_text()
    pipe.send(1024 * int(status.split("VmHWM:")[1].split()[0]))


class Peer:
    """The near end of an engine's process. RuntimeError: the engine cannot run this network."""

    def __init__(self, name, path, scan_path, threads):
        self.name, self.times = name, []
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=serve, args=(far, name, path, scan_path, threads), daemon=True)
        self.process.start()
        far.close()
        self.precision = self.pipe.recv()
        if isinstance(self.precision, RuntimeError):
            raise self.precision

    def round(self):
        self.pipe.send(True)
        self.times.append(self.pipe.recv())

    def finish(self):
        self.pipe.send(None)
        self.peak_bytes = self.pipe.recv()
        self.process.join()


class Product:
    """This runtime, through vnet-bench, which leaves loading out by itself."""

    name, precision = "this runtime", "f32"

    def __init__(self, plan, programs, threads, isa):
        self.times, self.peak_bytes, self.repeat = [], 0, 1
        self.command = [programs / "vnet-bench", plan, "--threads", str(threads), "--json"]
        self.command += ["--isa", isa] if isa else []

    def round(self):
        command = [str(w) for w in self.command + ["--repeat", self.repeat]]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            said = process.stdout.read()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"vnet-bench: exit status {process.returncode}")
        report = json.loads(said)
        if "median_ms" not in report:
            sys.exit('vnet-bench --json: no key "median_ms"')
        self.times.append(report["median_ms"])
        self.repeat = max(1, min(1000, int(1e3 * TURN_SECONDS / report["median_ms"])))
        self.peak_bytes = max(self.peak_bytes, 1024 * usage.ru_maxrss)

    def finish(self):
        pass


def prepare(network):
    """Paths of model and input. Runs in a process of its own: a child's peak memory counts from its
    parent's size at the start, so this one stays small."""
    import numpy

    import models

    case = models.Case(**network)
    scan_path = case.scratch / f"{case.stem}.scan.npy"
    numpy.save(scan_path, case.scan().numpy())
    return case.onnx(), scan_path


def product(args, onnx_path):
    """Compiles the plan; exits with a clear sentence where the programs are missing."""
    for folder in (args.build, args.build / "bin", args.build / "tools"):
        if (folder / "vnetc").is_file() and (folder / "vnet-bench").is_file():
            break
    else:
        sys.exit(f"no vnetc and vnet-bench in {args.build}: build the project first, or say --peers-only")
    plan = onnx_path.with_suffix(".plan")
    subprocess.run([folder / "vnetc", onnx_path, "-o", plan], check=True, stdout=subprocess.DEVNULL)
    return Product(plan, folder, args.threads, args.isa)


def size(text):
    return tuple(int(part) for part in text.split("x"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=["vnet", "vnet-2016", "vnet-caffe", "monai", "monai-prelu", "mattmacy"],
                        default="vnet")
    parser.add_argument("--size", type=size, default=(64, 128, 128))
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--isa", choices=LIMITED, help="limit this runtime, and peers where possible")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "build")
    parser.add_argument("--scratch", type=pathlib.Path,
                        default=pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / "vnet-peers",
                        help="holds the models; default: vnet-peers in the folder for temporary files")
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--peers-only", action="store_true")
    parser.add_argument("--any-precision", action="store_true", help="compare with peers in less than float32, too")
    args = parser.parse_args()

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    os.environ.update(LIMITED.get(args.isa, {}))
    network = {"name": args.model, "scratch": str(args.scratch), "size": args.size, "width": args.width}
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as helper:
        onnx_path, scan_path = helper.apply(prepare, (network,))

    engines = [] if args.peers_only else [product(args, onnx_path)]
    for name in args.peers:
        if args.isa == "avx2" and name not in LIMITABLE:
            print(f"{name}: cannot be limited to AVX2, left out", file=sys.stderr)
            continue
        try:
            engines.append(Peer(name, network if name == "torch" else str(onnx_path), scan_path, args.threads))
        except RuntimeError as error:
            print(f"{name}: left out: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
    for _ in range(args.rounds):
        for engine in engines:
            time.sleep(COOL_SECONDS)
            engine.round()
    for engine in engines:
        engine.finish()

    print(f"{args.model} width {args.width} at 1x1x{'x'.join(map(str, args.size))}, {args.threads} threads, "
          f"{args.rounds} rounds{', limited to ' + args.isa if args.isa else ''}")
    print(f"{'engine':14} {'median ms':>10} {'fastest':>10} {'slowest':>10} {'peak MiB':>10}  computes in")
    for engine in engines:
        print(f"{engine.name:14} {statistics.median(engine.times):10.1f} {min(engine.times):10.1f} "
              f"{max(engine.times):10.1f} {engine.peak_bytes / MIB:10.0f}  {engine.precision}")
    peers = [e for e in engines if isinstance(e, Peer) and (args.any_precision or e.precision.startswith("f32"))]
    if not args.peers_only and peers:
        fastest = min(statistics.median(e.times) for e in peers)
        print(f"ratio to the fastest peer: {fastest / statistics.median(engines[0].times):.2f}")


if __name__ == "__main__":
    main()
