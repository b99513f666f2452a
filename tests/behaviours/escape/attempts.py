"""The list of attempts, and the program that makes one of them inside a sandbox.

Only what is harmless by its arguments is tried, so that a hole would be seen and not felt. Modules
beside this one fill the list; they need nothing but the standard library, and run in the sandbox.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

#: What an attempt says that came to nothing.
HELD = "held"


class Attempt(NamedTuple):
    """One attempt."""

    #: what must hold, whatever is tried
    holds: str
    #: makes it; returns HELD, or what it got
    make: Callable[[], str]


ATTEMPTS: dict[str, Attempt] = {}
#: What the host says of itself: paths, processes, ports and numbers of system calls.
HOST: dict[str, Any] = json.loads(os.environ.get("HOST", "{}"))


def attempt(holds: str) -> Callable[[Callable[[], str]], Callable[[], str]]:
    """Add a function to the list; its name is that of the attempt."""

    def add(make: Callable[[], str]) -> Callable[[], str]:
        assert make.__name__ not in ATTEMPTS
        ATTEMPTS[make.__name__] = Attempt(holds, make)
        return make

    return add


def refused(*calls: Callable[[], object]) -> str:
    """Each call has to be refused by the system."""
    for index, call in enumerate(calls):
        try:
            found = call()
        except OSError:
            continue
        return f"call {index} was not refused, and gave {str(found)[:200]!r}"
    return HELD


def none_of(found: Iterable[object]) -> str:
    """Nothing may be found."""
    shown = [str(one) for one in found]
    return f"found {shown[:20]}" if shown else HELD


def opening(path: str, flags: int = os.O_RDONLY) -> Callable[[], object]:
    """A call that opens a file, and does nothing to it."""
    return lambda: os.close(os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC))


_library = ctypes.CDLL(None, use_errno=True)
_library.syscall.restype = ctypes.c_long


def system_call(name: str, *arguments: object) -> Callable[[], object]:
    """A system call, by its name; one that this architecture has not is as good as refused."""

    def call() -> int:
        number = HOST["numbers"][name]
        if number is None:
            raise OSError(errno.ENOSYS, "there is no such call")
        given = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
        code = int(_library.syscall(ctypes.c_long(number), *given))
        if code == -1:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return code

    return call


def own_processes() -> list[int]:
    """The processes that are seen."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def main() -> None:
    """Make the attempt that the command line names."""
    print(ATTEMPTS[sys.argv[1]].make())
