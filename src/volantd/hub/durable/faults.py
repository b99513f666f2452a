"""What a client is told when something could not be written."""

from __future__ import annotations

import errno

from volant.errors import Error, InternalError, ResourceExhaustedError

#: Of what went wrong, what is said.
TOLD_CHARS_MAX = 300
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def error_of(problem: BaseException) -> Error:
    """The error for who wanted something kept that could not be."""
    if isinstance(problem, Error):
        return problem
    cause = getattr(problem, "orig", None) or problem
    text = f"{type(cause).__name__}: {cause}"[:TOLD_CHARS_MAX]
    if "disk is full" in text or getattr(cause, "errno", None) in _NO_ROOM:
        return ResourceExhaustedError(
            f"there is no room on the disk to keep a call ({text})",
            hint="free some of the disk that the daemon's home is on",
        )
    return InternalError(
        f"a call could not be kept ({text})", hint="`volant server logs` has the details"
    )
