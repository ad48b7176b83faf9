"""Runs one call of the library so that Python stays in charge: Ctrl-C, cancel, progress.

The call is made on a thread of its own; the thread that asked for it waits where signals reach it,
calls `progress` itself, and presses the call's button when anything is raised there. The call's
thread keeps alive whatever memory the library was given, even where the waiting one is torn away.
"""
import threading
from ctypes import byref, c_void_p
from typing import Any, Callable, Optional, Set, Tuple

from . import _abi, errors
from ._handle import Handle
from ._library import lib

Progress = Callable[[float], Any]
_POLL_S = 0.1  # where waiting cannot be interrupted by signals, as on Windows


def _button() -> Handle:
    pointer, diag = c_void_p(), _abi.vn_diag()
    errors.check(lib.vn_cancel_create(byref(pointer), byref(diag)), diag)
    return Handle(pointer, lib.vn_cancel_close, "button")


def _press(button: Handle) -> None:
    with button.share() as pointer:
        lib.vn_cancel_press(pointer)


class Cancel:
    """A button that stops calls, from any thread or a signal handler: they raise CancelledError
    within milliseconds. It may be given to many calls and stays pressed for those to come."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal handler may press while it is held
        self._calls: Set[Handle] = set()
        self._pressed = False

    @property
    def pressed(self) -> bool:
        return self._pressed

    def press(self) -> None:
        with self._lock:
            self._pressed = True
            for button in list(self._calls):
                _press(button)

    def _attach(self, button: Handle) -> None:
        with self._lock:
            self._calls.add(button)
            if self._pressed:
                _press(button)

    def _detach(self, button: Handle) -> None:
        with self._lock:
            self._calls.discard(button)


class _State:
    """What the call's thread tells the one that waits."""

    def __init__(self) -> None:
        self.wake = threading.Event()
        self.done = False
        self.fraction = -1.0
        self.status = _abi.VN_E_INTERNAL
        self.failure: Optional[BaseException] = None


def _callback(state: _State) -> Any:
    def tell(_context: Any, fraction: float) -> int:
        state.fraction = fraction
        state.wake.set()
        return 0

    return _abi.vn_progress_fn(tell)


def _worker(work: Callable[[_abi.vn_diag], int], diag: _abi.vn_diag, state: _State) -> None:
    try:
        state.status = work(diag)
    except BaseException as error:  # noqa: B036  (raised again by the thread that waits)
        state.failure = error
    finally:
        state.done = True
        state.wake.set()


class _Teller:
    """Hands fractions to the user's callback, growing, as the part (first, last) of the whole."""

    def __init__(self, progress: Optional[Progress], part: Tuple[float, float]):
        self.progress, self.part, self.told = progress, part, -1.0

    def tell(self, fraction: float) -> None:
        fraction = min(fraction, 1.0)
        if self.progress is not None and fraction > self.told:
            self.told = fraction
            self.progress(self.part[0] + (self.part[1] - self.part[0]) * fraction)


def _wait(thread: threading.Thread, state: _State, teller: _Teller) -> None:
    try:
        thread.start()
    except RuntimeError:
        raise errors.OutOfMemoryError("a thread cannot be started") from None
    while not state.done:
        state.wake.wait(_POLL_S)
        state.wake.clear()
        teller.tell(state.fraction)
    thread.join()


def run(work: Callable[[_abi.vn_diag], int], *, options: Any = None,
        cancel: Optional[Cancel] = None, progress: Optional[Progress] = None,
        part: Tuple[float, float] = (0.0, 1.0), about: str = "") -> None:
    """work(diag) makes the call and returns its status; it must refer to all memory that the call
    touches. `options` is the call's struct with a `cancel` and a `progress`; None: the call cannot
    be stopped, and an interrupted wait leaves it behind. Raises what the call, `progress` or a
    signal's handler raised."""
    state, diag, teller = _State(), _abi.vn_diag(), _Teller(progress, part)
    thread = threading.Thread(target=_worker, args=(work, diag, state), name="vnet",
                              daemon=False)  # exit waits for it: it writes to memory of ours
    button = None
    try:
        if options is not None:
            button = _button()
            options.cancel = button._pointer
            options._button = button  # the call's thread holds the options
            if progress is not None:
                options.progress = _callback(state)
            if cancel is not None:
                cancel._attach(button)
        _wait(thread, state, teller)
    except BaseException:
        if button is not None:
            _press(button)
            while thread.is_alive():  # milliseconds, through a second Ctrl-C, too
                try:
                    thread.join()
                except KeyboardInterrupt:
                    pass
        raise
    finally:
        if button is not None and cancel is not None:
            cancel._detach(button)
    failure, state.failure = state.failure, None
    try:
        if failure is not None:
            raise failure
    finally:
        del failure  # its traceback has this frame
    errors.check(state.status, diag, about)
    teller.tell(1.0)
