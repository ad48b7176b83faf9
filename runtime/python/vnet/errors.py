"""What goes wrong, as exceptions: one class for each status of the library.

Each is also the builtin exception that a Python programmer would expect, and its text is the
library's sentence. Raised by every module of the package.
"""
from . import _abi


class Error(Exception):
    """Everything that this package raises on its own. `status` is the library's number, which is
    also the exit status that vnet-run would have."""

    status = _abi.VN_E_INTERNAL


class InternalError(Error, RuntimeError):
    """A broken promise of the library's own: worth a report."""


class ArgumentError(Error, ValueError):
    """An argument that makes no sense."""

    status = _abi.VN_E_ARGUMENT


class BusyError(ArgumentError, RuntimeError):
    """Two calls at once on one object, which runs one at a time."""


class FileError(Error, OSError):
    """A file that cannot be read or written."""

    status = _abi.VN_E_IO


class FormatError(Error, ValueError):
    """A damaged plan, or voxels that are not finite."""

    status = _abi.VN_E_FORMAT


class UnsupportedError(Error, ValueError):
    """Well formed, but outside what the library does: image and model do not go together."""

    status = _abi.VN_E_UNSUPPORTED


class OutOfMemoryError(Error, MemoryError):
    """Out of memory, or a stated limit would be broken: then the text has the figure."""

    status = _abi.VN_E_MEMORY


class CancelledError(Error):
    """Stopped by a `Cancel`."""

    status = _abi.VN_E_CANCELLED


_CLASS = {kind.status: kind for kind in (InternalError, ArgumentError, FileError, FormatError,
                                         UnsupportedError, OutOfMemoryError, CancelledError)}


def check(status: int, diag: _abi.vn_diag, about: str = "") -> None:
    """Raises what `status` stands for. `about`, a file's name, goes before where it is not said."""
    if status == _abi.VN_OK:
        return
    text = diag.text.decode("utf-8", "replace")
    raise _CLASS.get(status, InternalError)(text if text.startswith(about) else f"{about}: {text}")
