"""The models that compare.py and bench.py run, kept in a scratch folder: exported once, found again.

Weights are saved beside the models, so that every exporter and every engine gets the same.
"""

import contextlib
import io
import os
import pathlib
import tempfile

import torch

import export
import networks
from networks import Options

CASES = {
    "vnet": ("vnet", Options()),
    "vnet-2016": ("vnet-2016", Options()),
    "vnet-caffe": ("vnet-caffe", Options()),
    "monai": ("monai", Options(classes=2)),
    "monai-prelu": ("monai", Options(classes=2, act="prelu")),
    "mattmacy": ("mattmacy", Options()),
}


class Case:
    """One network of one width on one grid."""

    def __init__(self, name, scratch, size=networks.FULL_SIZE, width=16):
        self.name, self.size, self.width = name, size, width
        self.scratch = pathlib.Path(scratch)
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.shape = (1, 1, *size)
        self.stem = f"{name}-w{width}-{'x'.join(str(n) for n in size)}"

    def net(self):
        """The PyTorch network with its weights."""
        member, options = CASES[self.name]
        net, _ = networks.build(member, Options(**{**vars(options), "width": self.width}))
        weights = self.scratch / f"{self.stem}.pt"
        if not weights.exists():
            networks.calibrate(net, self.shape)
            with appears(weights) as path:
                torch.save(net.state_dict(), path)
        net.load_state_dict(torch.load(weights, weights_only=True))
        return net

    def scan(self):
        """An input that the weights were not calibrated on."""
        return networks.scan(self.shape, seed=1)

    def onnx(self, exporter="classic"):
        """The path of the exported model."""
        target = self.scratch / f"{self.stem}-{exporter}.onnx"
        if not target.exists():
            with appears(target) as path, contextlib.redirect_stdout(io.StringIO()):
                export.export(self.net(), self.scan(), path, exporter)
        return target


@contextlib.contextmanager
def appears(target):
    """A file that is there under its name only when it is whole."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        path = os.path.join(folder, target.name)
        yield path
        os.replace(path, target)
