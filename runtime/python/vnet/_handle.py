"""A pointer of the library with an owner: closed once, and after everything that borrows it.

Plans, execs and segmenters hold one each. Closing a plan that an exec still borrows takes effect
when the exec is closed, so that neither the garbage collector's order nor a user's can free memory
in use. `use` lets one call at a time have the pointer, and none after it is closed.
"""
import contextlib
import threading
from ctypes import byref, c_void_p
from typing import Any, Callable, Iterator, Optional

from .errors import ArgumentError, BusyError

_guard = threading.RLock()  # reentrant: the collector may close another handle while it is held


class Handle:
    def __init__(self, pointer: c_void_p, close: Callable, what: str,
                 parent: "Optional[Handle]" = None, keep: Any = None):
        """`close` is the library's, which takes the pointer's address; `what` names the object in
        errors; `keep` is memory that the library borrows."""
        self._pointer: Optional[c_void_p] = pointer
        self._close, self._what, self._keep = close, what, keep
        self._parents = [] if parent is None else [parent]
        self._busy = threading.Lock()
        self._borrowers, self._wanted = 0, True

    @property
    def closed(self) -> bool:
        return not self._wanted

    def _refuse_closed(self) -> None:
        if not self._wanted:
            raise ArgumentError(f"the {self._what} is closed")

    @contextlib.contextmanager
    def use(self) -> Iterator[Optional[c_void_p]]:
        """The pointer, for one call. BusyError where another one has it."""
        if not self._busy.acquire(blocking=False):
            raise BusyError(f"the {self._what} is in use: it runs one call at a time, open another "
                            "one on the same plan for a second thread")
        try:
            self._refuse_closed()
            yield self._pointer
        finally:
            self._busy.release()

    @contextlib.contextmanager
    def share(self) -> Iterator[Optional[c_void_p]]:
        """The pointer, for calls that any number of threads may make: a plan's."""
        with _guard:
            self._refuse_closed()
            self._borrowers += 1
        try:
            yield self._pointer
        finally:
            self._return()

    def child(self, pointer: c_void_p, close: Callable, what: str) -> "Handle":
        """A handle whose object borrows this one until it is closed. Called inside share()."""
        child = Handle(pointer, close, what, self)
        with _guard:
            self._borrowers += 1
        return child

    def close(self) -> None:
        """Any number of times. BusyError while a call is under way."""
        if not self._busy.acquire(blocking=False):
            raise BusyError(f"the {self._what} is in use: press the call's cancel, and close it "
                            "when that has returned")
        try:
            self._drop()
        finally:
            self._busy.release()

    def _return(self, _guard=_guard) -> None:
        with _guard:
            self._borrowers -= 1
            wanted = self._wanted
        if not wanted:
            self._drop()

    def _return_parents(self) -> None:
        parents, self._parents = self._parents, []
        for parent in parents:
            parent._return()

    def give(self, owner: "Handle", take: Callable[[Any], int]) -> int:
        """`take` gets the pointer's address and may give the object to that of `owner`, which then
        borrows what this one did. Returns what `take` does."""
        with self.use() as pointer:
            status = take(byref(pointer))
            if not pointer:
                with _guard:
                    self._pointer, self._wanted = None, False
                    owner._parents += self._parents
                    self._parents = []
            return status

    # Names are bound early, for the interpreter's last moments.
    def _drop(self, _guard=_guard, _byref=byref) -> None:
        with _guard:
            self._wanted = False
            pointer = self._pointer
            if self._borrowers or pointer is None:
                return
            self._pointer = None
        self._close(_byref(pointer))
        self._keep = None
        self._return_parents()

    def __del__(self) -> None:
        self._drop()  # no call can be under way: it would hold a reference
