"""Exec: runs a plan on tensors. Scans are segment.py's, which needs nothing of this but the steps.
"""
from ctypes import byref, c_void_p, sizeof
from operator import index
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from . import _abi, errors
from ._call import Cancel, Progress, run
from ._handle import Handle
from ._library import lib
from .plan import Plan, Port, text


class Step(NamedTuple):
    """A step of the network, and how long it took."""

    name: str  # the layer's in the model
    op: str  # "conv3d" …
    kernel: str  # "winograd 4x4x4 avx512" …
    macs: int  # multiply-adds of the direct algorithm
    last_ms: float  # wall time in the latest run
    predicted_ms: float


class ExecInfo(NamedTuple):
    isa: str
    threads: int
    arena_bytes: int
    scratch_bytes: int  # all threads together
    packed_bytes: int  # weights as kernels want them, which all that is open on one plan shares


def exec_options(threads: Optional[int], isa: Optional[str],
                 memory_limit: Optional[int]) -> _abi.vn_exec_options:
    """Checked here, because ctypes would wrap what does not fit."""
    options = _abi.vn_exec_options(size=sizeof(_abi.vn_exec_options))
    if threads is not None:
        if not 1 <= index(threads) < 1 << 31:
            raise errors.ArgumentError(f"threads is {threads}, not at least 1")
        options.threads = index(threads)
    if isa is not None:
        options.isa = isa.encode()
    if memory_limit is not None:
        if not 1 <= index(memory_limit) < 1 << 64:
            raise errors.ArgumentError(f"memory_limit is {memory_limit}, not at least 1 byte")
        options.memory_limit_bytes = index(memory_limit)
    return options


def exec_info(info: _abi.vn_exec_info) -> ExecInfo:
    return ExecInfo(text(info.isa), info.threads, info.arena_bytes, info.scratch_bytes,
                    info.packed_bytes)


def exec_steps(pointer: Any) -> Tuple[Step, ...]:
    raw = (lib.vn_exec_step(pointer, i) for i in range(lib.vn_exec_steps(pointer)))
    return tuple(Step(text(step.name), text(step.op), text(step.kernel), step.macs,
                      step.last_ns / 1e6, step.predicted_ns / 1e6) for step in raw)


def open_on(plan: Plan, opener: Any, closer: Any, what: str, options: _abi.vn_exec_options,
            **more: Any) -> Handle:
    """What Exec and Segmenter share: an object that borrows the plan."""
    handles: List[Handle] = []

    def work(diag: _abi.vn_diag) -> int:
        pointer = c_void_p()
        with plan._handle.share() as borrowed:
            status = opener(borrowed, byref(options), byref(pointer), byref(diag))
            if not status:
                handles.append(plan._handle.child(pointer, closer, what))
        return status

    run(work, options=options, **more)
    return handles.pop()


class Exec:
    """A plan made ready to run: threads and all memory. Runs one call at a time; a second one at
    the same time is refused with BusyError. Context manager."""

    def __init__(self, plan: Plan, *, threads: Optional[int] = None, isa: Optional[str] = None,
                 memory_limit: Optional[int] = None, progress: Optional[Progress] = None,
                 cancel: Optional[Cancel] = None):
        """threads None: one for each core; isa None: the best here; memory_limit in bytes.
        ArgumentError, UnsupportedError, OutOfMemoryError, CancelledError."""
        self.plan = plan
        self._handle = open_on(plan, lib.vn_exec_open, lib.vn_exec_close, "exec",
                               exec_options(threads, isa, memory_limit), cancel=cancel,
                               progress=progress)
        with self._handle.use() as pointer:
            self.info = exec_info(lib.vn_exec_info(pointer))
        self.inputs: Tuple[Port, ...] = plan.inputs
        self.outputs: Tuple[Port, ...] = plan.outputs

    @staticmethod
    def measure(plan: Plan, *, threads: Optional[int] = None,
                isa: Optional[str] = None) -> ExecInfo:
        """What opening with these options would take, without taking it."""
        options, info, diag = exec_options(threads, isa, None), _abi.vn_exec_info(), _abi.vn_diag()
        with plan._handle.share() as borrowed:
            errors.check(lib.vn_exec_measure(borrowed, byref(options), byref(info), byref(diag)),
                         diag)
        return exec_info(info)

    def run(self, arrays: Sequence[Any], *, progress: Optional[Progress] = None,
            cancel: Optional[Cancel] = None) -> List[np.ndarray]:
        """One array for each input, of its shape and of a type that converts to its own without
        another kind of number. Returns new arrays, one for each output."""
        inputs = [self._input(array, port) for array, port in self._pairs(arrays)]
        outputs = [np.empty(port.shape, port.dtype) for port in self.outputs]
        options = _abi.vn_run_options(size=sizeof(_abi.vn_run_options))

        def work(diag: _abi.vn_diag) -> int:
            with self._handle.use() as pointer:
                return lib.vn_exec_run_with(pointer, _addresses(inputs), _addresses(outputs),
                                            byref(options), byref(diag))

        run(work, options=options, cancel=cancel, progress=progress)
        return outputs

    def _pairs(self, arrays: Sequence[Any]) -> List[Tuple[Any, Port]]:
        arrays = list(arrays)
        if len(arrays) != len(self.inputs):
            raise errors.ArgumentError(f"{len(arrays)} arrays for {len(self.inputs)} inputs")
        return list(zip(arrays, self.inputs))

    @staticmethod
    def _input(array: Any, port: Port) -> np.ndarray:
        array = np.asarray(array)
        if array.shape != port.shape:
            raise errors.ArgumentError(f"input {port.name} has shape {port.shape}, the array "
                                       f"{array.shape}")
        if not np.can_cast(array.dtype, port.dtype, "same_kind"):
            raise errors.ArgumentError(f"input {port.name} is {port.dtype}, the array "
                                       f"{array.dtype}")
        return np.ascontiguousarray(array, port.dtype)

    @property
    def steps(self) -> Tuple[Step, ...]:
        with self._handle.use() as pointer:
            return exec_steps(pointer)

    def close(self) -> None:
        self._handle.close()

    def __enter__(self) -> "Exec":
        return self

    def __exit__(self, *_exception: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<vnet.Exec {self.info.isa}, {self.info.threads} threads>"


def _addresses(arrays: Sequence[np.ndarray]) -> Any:
    return (c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
