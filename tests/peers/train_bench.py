"""Times a whole training step here and in PyTorch in turn, several rounds in one run.

    python train_bench.py --width 16 --batch 2 --size 64x64x64 --threads 2 [--build ../../build]

A step is forward, Dice loss, backward and AdamW on data that is ready in memory, in float32. Both live in
processes of their own, on the same cores, for all rounds: opening and the first step are not counted, memory
is the process's peak. PyTorch runs eagerly on oneDNN in the memory format that is faster here. The last line:
`ratio to PyTorch: N.NN`.
"""

import argparse
import multiprocessing
import os
import pathlib
import statistics
import subprocess
import sys
import time

MIB = 1 << 20
COOL_SECONDS = 0.5  # threads may spin for a while after a turn
MEMBERS = ["vnet", "vnet-2016", "vnet-caffe", "monai", "mattmacy"]


def peak_bytes(pid):
    return 1024 * int(pathlib.Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0])


def torch_step(args):
    """Makes net and optimiser in a memory format; yields a function that does one step."""
    import torch

    import networks

    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision("highest")
    torch.manual_seed(1)
    options = networks.Options(width=args.width, classes=2, tail="none")
    labels = torch.randint(0, 2, (args.batch, *args.size))
    hot, scan = (labels == 1).float(), torch.randn(args.batch, 1, *args.size)

    def make(memory_format):
        net = networks.build(args.member, options)[0].train().to(memory_format=memory_format)
        for module in net.modules():
            if isinstance(module, torch.nn.modules.dropout._DropoutNd):
                module.p = 0
        optimiser = torch.optim.AdamW(net.parameters(), lr=1e-4, weight_decay=0.01)
        x = scan.contiguous(memory_format=memory_format)

        def step():
            optimiser.zero_grad()
            p, axes = torch.softmax(net(x), 1)[:, 1], (1, 2, 3)
            dice = 2 * (p * hot).sum(axes) / ((p * p).sum(axes) + hot.sum(axes))
            (1 - dice.mean()).backward()
            optimiser.step()

        return step

    return make


def serve(pipe, args, name):
    """PyTorch's process: for every message the seconds of one step."""
    import torch

    step = torch_step(args)(getattr(torch, name))
    step()
    pipe.send(None)
    while pipe.recv():
        started = time.perf_counter()
        step()
        pipe.send(time.perf_counter() - started)


class Torch:
    def __init__(self, args, name):
        self.name, self.times = f"PyTorch, {name.removesuffix('_format')}", []
        context = multiprocessing.get_context("spawn")
        self.pipe, far = context.Pipe()
        self.process = context.Process(target=serve, args=(far, args, name), daemon=True)
        self.process.start()
        far.close()
        self.pipe.recv()

    def step(self):
        self.pipe.send(True)
        return self.pipe.recv()

    def finish(self):
        self.peak_bytes = peak_bytes(self.process.pid)
        self.pipe.send(False)
        self.process.join()


class Product:
    name = "this trainer"

    def __init__(self, args):
        program = next((f / "train_bench" for f in (args.build, args.build / "tests")
                        if (f / "train_bench").is_file()), None)
        if not program:
            sys.exit(f"no train_bench in {args.build}: build the project first")
        self.times = []
        command = [program, args.member, args.width, args.batch, "x".join(map(str, args.size)), args.threads]
        command += [args.isa] if args.isa else []
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.step()

    def step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said = self.process.stdout.readline()
        if not said:
            sys.exit(f"train_bench: exit status {self.process.wait()}")
        return float(said)

    def finish(self):
        self.peak_bytes = peak_bytes(self.process.pid)
        self.process.stdin.close()
        self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--member", choices=MEMBERS, default="vnet")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=lambda t: tuple(map(int, t.split("x"))), default=(64, 64, 64))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3, help="of this trainer in a round; the median counts")
    parser.add_argument("--isa", help="limit this trainer")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2] / "build")
    args = parser.parse_args()

    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])
    ours, peers = Product(args), [Torch(args, "channels_last_3d"), Torch(args, "contiguous_format")]
    first = [peer.step() for peer in peers]
    slower = peers.pop(first.index(max(first)))
    slower.finish()
    peer = peers[0]
    for _ in range(args.rounds):
        for engine, steps in ((ours, args.steps), (peer, 1)):
            time.sleep(COOL_SECONDS)
            engine.times.append(statistics.median(engine.step() for _ in range(steps)))
    print(f"{args.member} width {args.width}, {args.batch}x1x{'x'.join(map(str, args.size))}, "
          f"{args.threads} threads, {args.rounds} rounds (the other memory format: {max(first):.2f} s)")
    print(f"{'':26} {'s/iteration':>12} {'fastest':>8} {'slowest':>8} {'peak MiB':>9}")
    for engine in (ours, peer):
        engine.finish()
        print(f"{engine.name:26} {statistics.median(engine.times):12.3f} {min(engine.times):8.3f} "
              f"{max(engine.times):8.3f} {engine.peak_bytes / MIB:9.0f}")
    print(f"peak memory to PyTorch's: {ours.peak_bytes / peer.peak_bytes:.2f}")
    print(f"ratio to PyTorch: {statistics.median(peer.times) / statistics.median(ours.times):.2f}")


if __name__ == "__main__":
    main()
