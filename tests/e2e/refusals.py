"""What a user gets for files that are no models or plans, and for outputs that cannot be written.

    refusals.py BIN_DIR FIXTURES_DIR

Each case: the documented exit status (schemas/vnet_status.h), one line on standard error, and no file left
behind. Scans are run_scan.py's business.
"""
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

bin_dir, fixtures = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
ARGUMENT, IO, FORMAT, UNSUPPORTED, MEMORY, CANCELLED = 2, 3, 4, 5, 6, 7
scratch = tempfile.TemporaryDirectory()
folder = pathlib.Path(scratch.name)
model = fixtures / "models" / "activations.onnx"
plan = folder / "good.plan"
results = folder / "results"
results.mkdir()


def refused(expected, *words, shell=None):
    """The command ends with one of `expected`, one line on standard error, nothing in results/."""
    words = [str(w) for w in words]
    if shell:
        words = ["bash", "-c", shell + '; exec "$@"', "-"] + words
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    err = done.stderr.strip()
    expected = {expected} if isinstance(expected, int) else expected
    assert done.returncode in expected, f"{words}: status {done.returncode}: {err}"
    assert err and "\n" not in err, f"{words}: not one line: {err!r}"
    assert not list(results.iterdir()), f"{words}: left {list(results.iterdir())}"


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def field(number, data):
    return varint(number << 3 | 2) + varint(len(data)) + data


def file(name, data):
    path = folder / name
    path.write_bytes(data)
    return path


def models():
    data = model.read_bytes()
    out = results / "x.plan"
    for n in range(0, len(data), max(1, len(data) // 40)):
        refused({FORMAT, UNSUPPORTED}, bin_dir / "vnetc", file("cut.onnx", data[:n]), "-o", out,
                "--topology", "any")
    refused(FORMAT, bin_dir / "vnetc", file("text.onnx", b"this is no model\n" * 50), "-o", out)
    refused(IO, bin_dir / "vnetc", folder, "-o", out)
    refused(IO, bin_dir / "vnetc", folder / "absent.onnx", "-o", out)
    deep = b""
    for _ in range(5000):  # a graph in an attribute of a node of a graph …
        deep = field(1, field(5, field(6, deep)))
    refused(UNSUPPORTED, bin_dir / "vnetc", file("deep.onnx", field(7, deep)), "-o", out)
    huge = field(5, b"\x08" + varint(1 << 40) + b"\x08" + varint(1 << 40) + b"\x10\x01" +
                 field(8, b"w") + field(9, b"1234"))
    refused({FORMAT, UNSUPPORTED}, bin_dir / "vnetc",
            file("huge.onnx", field(7, huge) + field(8, b"\x10\x11")), "-o", out)
    refused(ARGUMENT, bin_dir / "vnetc", model)
    refused(ARGUMENT, bin_dir / "vnetc", model, "-o", out, "--patch", "0x1x1")
    refused(ARGUMENT, bin_dir / "vnetc", model, "-o", out, "--conv", "fourier")
    refused({ARGUMENT, UNSUPPORTED}, bin_dir / "vnetc", model, "-o", out, "--topology", "unet")
    refused(MEMORY, bin_dir / "vnetc", model, "-o", out, "--topology", "any", "--memory-limit", "1K")


def plans():
    subprocess.run([bin_dir / "vnetc", model, "-o", plan, "--topology", "any", "-q"], check=True)
    data = plan.read_bytes()
    tensor = ["--tensor", fixtures / "golden" / "activations.in.npy", "-o", results / "out.npy"]

    def both(expected, bad):
        refused(expected, bin_dir / "vnet-run", bad, *tensor)
        refused(expected, bin_dir / "vnet-plan", bad)
        refused(expected, bin_dir / "vnet-bench", bad)

    both(FORMAT, file("empty.plan", b""))
    both(FORMAT, file("model.plan", model.read_bytes()))
    both(FORMAT, file("cut.plan", data[: len(data) // 2]))
    both(FORMAT, file("flipped.plan", data[:-1] + bytes([data[-1] ^ 1])))
    both(UNSUPPORTED, file("later.plan", data[:12] + struct.pack("<H", 2) + data[14:]))
    both(IO, folder / "absent.plan")
    refused(MEMORY, bin_dir / "vnet-run", plan, *tensor, "--memory-limit", "1K")
    refused({ARGUMENT, UNSUPPORTED}, bin_dir / "vnet-run", plan, *tensor, "--isa", "mmx")


def outputs():
    through_a_file = model / "x"
    for words in ([bin_dir / "vnetc", model, "--topology", "any", "-o"],
                  [bin_dir / "vnet-model", "--width", "4", "--stages", "2", "--patch", "8x8x8", "-o"]):
        refused(IO, *words, through_a_file)
        refused(IO, *words, folder / "no" / "such" / "folder" / "x")
    # The kernel's limit on a file's size stands in for a full disk.
    refused(IO, bin_dir / "vnet-model", "--width", "4", "--patch", "32x32x32", "-o",
            results / "x.onnx", shell="ulimit -f 64")
    big = folder / "big.onnx"
    subprocess.run([bin_dir / "vnet-model", "--width", "4", "--patch", "32x32x32", "-o", big],
                   check=True, capture_output=True)
    refused(IO, bin_dir / "vnetc", big, "-o", results / "x.plan", shell="ulimit -f 64")


def signals():
    big = folder / "wide.onnx"
    subprocess.run([bin_dir / "vnet-model", "--width", "8", "--patch", "32x32x32", "-o", big],
                   check=True, capture_output=True)
    for number, delay in ((signal.SIGINT, 0.0), (signal.SIGINT, 0.03), (signal.SIGTERM, 0.1)):
        with subprocess.Popen([bin_dir / "vnetc", big, "-q", "-o", results / "x.plan"],
                              stderr=subprocess.PIPE) as run:
            time.sleep(delay)
            run.send_signal(number)
            status = run.wait(timeout=60)
        assert status in (0, CANCELLED, -number), status  # it may have been done, or not yet begun
        left = [p.name for p in results.iterdir() if status or p.name != "x.plan"]
        assert not left, left
        shutil.rmtree(results)
        results.mkdir()


for check in (models, plans, outputs, signals):
    check()
    print("ok  ", check.__name__)
