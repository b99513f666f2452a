"""New memory files, whatever the C library is that this Python was built for.

A portable build knows nothing that the oldest system did not have, although this one has it.
"""

from __future__ import annotations

import os

_NAME = "volant-payload"
_CLOEXEC, _ALLOW_SEALING = 1, 2


def memory_file() -> int:
    """The descriptor of a new, empty file in memory, which can be sealed."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create(_NAME, _CLOEXEC | _ALLOW_SEALING)
    return made_by_c_library()


def made_by_c_library() -> int:
    """The same, by the C library that runs here."""
    import ctypes

    libc = ctypes.PyDLL(None, use_errno=True)
    fd: int = libc.memfd_create(_NAME.encode(), _CLOEXEC | _ALLOW_SEALING)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"memfd_create: {os.strerror(number)}")
    return fd
