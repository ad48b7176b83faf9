"""Finds the shared libraries, checks their version and declares their functions.

`lib` has every function of _abi.FUNCTIONS as an attribute. Libraries come from VNET_LIBRARY_DIR
where that is set (folders, as in PATH), else from the package itself, as wheels have them, else
from where the system's loader looks. Nothing is searched for by any other name.
"""
import ctypes
import os
import pathlib
from types import SimpleNamespace
from typing import List, Optional

from ._abi import FUNCTIONS
from ._version import VERSION

_ABI = ".".join(VERSION.split(".")[:2])
_BUNDLED = pathlib.Path(__file__).parent / "_libs"


def _soname(library: str) -> str:
    return f"lib{library}.so.{_ABI}"


def _folders() -> Optional[List[pathlib.Path]]:
    """Where to look; None: wherever the system does."""
    named = os.environ.get("VNET_LIBRARY_DIR")
    if named:
        return [pathlib.Path(folder) for folder in named.split(os.pathsep) if folder]
    return [_BUNDLED] if _BUNDLED.is_dir() else None


def _load(library: str) -> ctypes.CDLL:
    name, folders = _soname(library), _folders()
    if folders is None:
        try:
            return ctypes.CDLL(name)
        except OSError as error:
            raise ImportError(
                f"vnet needs the library {name}, which is neither in the package nor on the system "
                f"({error}): install vnet {_ABI}, or name its folder in VNET_LIBRARY_DIR") from None
    for folder in folders:
        if (folder / name).exists():
            try:
                return ctypes.CDLL(str((folder / name).resolve()))
            except OSError as error:
                raise ImportError(f"vnet cannot load {folder / name}: {error}") from None
    raise ImportError(f"vnet needs the library {name}, which is not in "
                      + ", ".join(str(folder) for folder in folders))


def _open() -> SimpleNamespace:
    # libvnet first: the others find it by its soname among what is loaded, wherever it lies.
    found = SimpleNamespace()
    for library, functions in FUNCTIONS.items():
        loaded = _load(library)
        for name, (result, arguments) in functions.items():
            try:
                function = getattr(loaded, name)
            except AttributeError:
                raise ImportError(f"{_soname(library)} has no {name}: it is not vnet "
                                  f"{_ABI}") from None
            function.restype, function.argtypes = result, arguments
            setattr(found, name, function)
        if library == "vnet":
            version = found.vn_version().decode("ascii", "replace")
            if version.split(".")[:2] != _ABI.split("."):
                raise ImportError(f"this package is for vnet {_ABI}, but {_soname(library)} is "
                                  f"vnet {version}")
            found.version = version
    return found


lib = _open()
