"""What a thread waits for on a channel: the contract, and the waiter for control requests."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Waiter:
    """What a thread waits for on a channel. Subclasses decide what a frame means.

    `ready` says that the waiting thread has something to do; `error` that waiting is over.
    """

    __slots__ = ("error", "notify", "ready")

    #: True for the waiters of calls with one input and one result.
    is_single = False
    #: False for those that are there for what may come and may not.
    is_waited_for = True

    def __init__(self) -> None:
        self.ready = False
        self.error: BaseException | None = None
        #: Called from whichever thread feeds this waiter (the asyncio face sets it).
        self.notify: Callable[[], None] | None = None

    def is_call_of(self, function: int) -> bool:
        """Whether this waits for the one result of a call of that function."""
        return False

    def on_result(self, flags: int, head: tuple[int, int, int, int], section: bytes,
                  fd: int | None) -> None:  # fmt: skip
        """Take one RESULT frame."""
        raise NotImplementedError

    def on_reply(self, reply: dict[str, Any]) -> None:
        """Take the answer to a request."""
        raise NotImplementedError

    def resubmit(self) -> list[tuple[bytes, int | None]]:
        """Frames to send again after the connection was lost."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """End the waiting with an error."""
        self.error = error
        self.ready = True


class RequestWaiter(Waiter):
    """Waits for the one reply to a control request."""

    __slots__ = ("fd", "frame", "reply")

    def __init__(self, frame: bytes, fd: int | None = None) -> None:
        """`fd`: travels with the frame; whoever waits keeps it open."""
        super().__init__()
        self.frame = frame
        self.fd = fd
        self.reply: dict[str, Any] = {}

    def on_reply(self, reply: dict[str, Any]) -> None:
        self.reply = reply
        self.ready = True

    def on_result(self, flags: int, head: tuple[int, int, int, int], section: bytes,
                  fd: int | None) -> None:  # fmt: skip
        if fd is not None:
            os.close(fd)

    def resubmit(self) -> list[tuple[bytes, int | None]]:
        return [(self.frame, self.fd)]


def raise_reply_error(reply: dict[str, Any]) -> None:
    """Raise the error that a reply carries, if any."""
    if "fault" in reply:
        from volant.wire.faults import decode_fault

        raise decode_fault(reply["fault"])
