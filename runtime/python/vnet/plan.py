"""Plan: a compiled network, as vnetc writes it, validated and in memory.

Exec (tensors) and Segmenter (scans) run it. Any number of them, on any threads, may share one.
"""
import os
from ctypes import byref, c_void_p, sizeof
from typing import Any, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from . import _abi, errors
from ._call import Cancel, Progress, run
from ._handle import Handle
from ._library import lib

Source = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview]


class Port(NamedTuple):
    """An input or output of the network, as the ONNX model declares it."""

    name: str
    dtype: np.dtype  # float32 or int64
    shape: Tuple[int, ...]  # a scan network: n c d h w


def text(value: Optional[bytes]) -> str:
    return (value or b"").decode("utf-8", "replace")


def _port(port: _abi.vn_port) -> Port:
    dtype = np.dtype(np.float32 if port.type == _abi.TYPE.index("VN_TYPE_F32") else np.int64)
    return Port(text(port.name), dtype, tuple(port.dim[:port.rank]))


def _aligned_copy(data: Any) -> np.ndarray:
    """The bytes where the library can use them as they are, and nobody else can change them."""
    raw = np.frombuffer(data, np.uint8)
    room = np.empty(raw.size + 63, np.uint8)
    start = -room.ctypes.data % 64
    copy = room[start:start + raw.size]
    copy[:] = raw
    return copy


class Plan:
    """A plan from a file or from bytes. Context manager; `close` frees it once nothing that was
    opened on it is left."""

    def __init__(self, source: Source, *, progress: Optional[Progress] = None,
                 cancel: Optional[Cancel] = None, _part: Tuple[float, float] = (0.0, 1.0)):
        """`source`: a path (str or PathLike), or the plan itself (bytes), which is copied. The file
        may be changed or deleted afterwards. FileError: cannot be read; FormatError: not a plan, or
        damaged; UnsupportedError: of another version of the format."""
        handles: List[Handle] = []
        options = _abi.vn_run_options(size=sizeof(_abi.vn_run_options))
        if isinstance(source, (bytes, bytearray, memoryview)):
            data, about = _aligned_copy(source), ""

            def work(diag: _abi.vn_diag) -> int:
                pointer = c_void_p()
                status = lib.vn_plan_open_memory(data.ctypes.data, data.size, byref(pointer),
                                                 byref(diag))
                if not status:
                    handles.append(Handle(pointer, lib.vn_plan_close, "plan", keep=data))
                return status
        else:
            path = os.fsencode(source)
            about = os.fsdecode(path)
            if b"\0" in path:
                raise errors.ArgumentError("a path with a null byte")

            def work(diag: _abi.vn_diag) -> int:
                pointer = c_void_p()
                status = lib.vn_plan_open_with(path, byref(options), byref(pointer), byref(diag))
                if not status:
                    handles.append(Handle(pointer, lib.vn_plan_close, "plan"))
                return status

        run(work, options=options, cancel=cancel, progress=progress, part=_part, about=about)
        self._handle = handles.pop()
        with self._handle.share() as plan:
            self.inputs = tuple(_port(lib.vn_plan_input(plan, i))
                                for i in range(lib.vn_plan_inputs(plan)))
            self.outputs = tuple(_port(lib.vn_plan_output(plan, i))
                                 for i in range(lib.vn_plan_outputs(plan)))
            self.topology = text(lib.vn_plan_topology(plan))  # "vnet width=16 stages=5 …" or "any"
            self.checksum: int = lib.vn_plan_checksum(plan)

    def meta(self, key: str) -> Optional[str]:
        """Metadata that travelled with the model ("vnet.spacing_mm" …); None when absent."""
        with self._handle.share() as plan:
            value = lib.vn_plan_meta(plan, key.encode())
            return None if value is None else text(value)

    def close(self) -> None:
        self._handle.close()

    def __enter__(self) -> "Plan":
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<vnet.Plan {self.topology}{', closed' if self._handle.closed else ''}>"
