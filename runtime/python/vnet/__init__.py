"""V-Net segmentation of medical scans: a binding of libvnet by ctypes and numpy.

    with vnet.open("brain.plan") as model:
        result = model.segment(nibabel.load("t1.nii.gz"))
    print(result.volumes_ml)

`open` and Segmenter take scans; Plan and Exec run a network on tensors. Errors are errors.Error.
"""
from ._call import Cancel
from ._library import lib as _lib
from ._version import VERSION as __version__
from .errors import (ArgumentError, BusyError, CancelledError, Error, FileError, FormatError,
                     InternalError, OutOfMemoryError, UnsupportedError)
from .plan import Plan, Port
from .result import Label, Measure, Report, Result
from .segment import Segmenter, open
from .tensor import Exec, ExecInfo, Step

library_version: str = _lib.version

__all__ = ["ArgumentError", "BusyError", "Cancel", "CancelledError", "Error", "Exec", "ExecInfo",
           "FileError", "FormatError", "InternalError", "Label", "Measure", "OutOfMemoryError",
           "Plan", "Port", "Report", "Result", "Segmenter", "Step", "UnsupportedError",
           "__version__", "library_version", "open"]
