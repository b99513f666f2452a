"""What threads wait for: one result, the values of a generator, the outcome of a spawned call.

A waiter keeps the frames it would have to send again after a lost connection, and takes
results apart only in the thread that waits for them.
"""

from __future__ import annotations

import os
from collections import deque

from volant.channel.waiter import Waiter
from volant.errors import ConnectionError
from volant.wire import frames
from volant.wire.frames import HEAD_LENGTH_MASK
from volant.wire.payloads import close_sent, loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from volant.channel.channel import Channel

#: Values of a generator taken before the container is told that there is room for more.
CREDIT_EVERY = 256


def decode_item(
    kind: int, payload: bytes, fd: int | None, local_path: Callable[[str], str | None] | None
) -> tuple[bool, Any]:
    """Unpickle one item.

    Returns:
        (True, value), or (False, exception) when the item is a fault or cannot be unpickled.
    """
    try:
        if kind != frames.FAULT:
            return True, loads(kind, payload, fd)
        if fd is not None:
            os.close(fd)
        from volant.wire.faults import decode_fault

        return False, decode_fault(payload, local_path=local_path)
    except Exception as error:  # noqa: BLE001  # unpickling runs user code
        return False, undecodable(error)


def undecodable(error: BaseException) -> BaseException:
    """The error for a result that arrived and cannot be unpickled here."""
    from volant.errors import DeserializationError

    made = DeserializationError(
        f"the result cannot be unpickled here: {type(error).__name__}: {error}",
        hint="the class of the result must be importable where the call is made",
    )
    made.__cause__ = error
    return made


class CallWaiter(Waiter):
    """Waits for the one result of a call."""

    is_single = True

    __slots__ = ("fd", "frame", "result_fd", "section")

    def __init__(self, frame: bytes, fd: int | None) -> None:
        super().__init__()
        self.frame = frame
        self.fd = fd
        self.section = b""
        self.result_fd: int | None = None

    def is_call_of(self, function: int) -> bool:
        called: int = frames.HOT.unpack_from(self.frame, frames.HEADER.size)[3]
        return called & frames.FUNCTION_MASK == function

    def on_result(self, flags: int, head: tuple[int, int, int, int], section: bytes,
                  fd: int | None) -> None:  # fmt: skip
        self.section = section
        self.result_fd = fd
        self.ready = True

    def on_reply(self, reply: dict[str, Any]) -> None:
        """A reply to a call means that the hub refused it."""
        from volant.wire.faults import decode_fault

        self.fail(decode_fault(reply["fault"]))

    def resubmit(self) -> list[tuple[bytes, int | None]]:
        return [] if self.ready else [(self.frame, self.fd)]

    def outcome(self, local_path: Callable[[str], str | None] | None) -> tuple[bool, Any]:
        """The result, unpickled here: (True, value) or (False, the user's own exception).

        The caller raises the exception, so that its traceback holds one frame of ours and not
        a stack of them.
        """
        section = self.section
        head = int.from_bytes(section[:4], "little")
        payload = section[4 : 4 + (head & HEAD_LENGTH_MASK)]
        fd, self.result_fd = self.result_fd, None
        return decode_item(head >> 28, payload, fd, local_path)

    def release(self) -> None:
        """Close what the call kept for resubmission."""
        if self.fd is not None:
            close_sent(self.fd, reusable=self.ready and self.error is None)
            self.fd = None


class SpawnWaiter(CallWaiter):
    """Waits until the hub has accepted a call whose result it keeps."""

    __slots__ = ("call_id",)

    def __init__(self, frame: bytes, fd: int | None) -> None:
        super().__init__(frame, fd)
        #: Its id, where it has a key; else that follows from its number.
        self.call_id = ""

    def is_call_of(self, function: int) -> bool:
        return False

    def on_reply(self, reply: dict[str, Any]) -> None:
        if "fault" in reply:
            super().on_reply(reply)
        else:
            self.call_id = str(reply.get("call", ""))
            self.ready = True


class OutcomeWaiter(CallWaiter):
    """Waits for the result of a call that was made before, perhaps by another process."""

    __slots__ = ("pending",)

    def is_call_of(self, function: int) -> bool:
        return False

    def __init__(self, frame: bytes) -> None:
        super().__init__(frame, None)
        self.pending = False

    def on_reply(self, reply: dict[str, Any]) -> None:
        if "fault" in reply:
            super().on_reply(reply)
        elif reply["state"] == "pending":
            self.pending = True
            self.ready = True


class StreamWaiter(Waiter):
    """Waits for the values of a generator call, which arrive one by one."""

    __slots__ = ("channel", "finished", "frame", "items", "number", "taken")

    def __init__(self, channel: Channel, number: int, frame: bytes) -> None:
        super().__init__()
        self.channel = channel
        self.number = number
        self.frame = frame
        self.items: deque[tuple[int, bytes, int | None]] = deque()
        self.finished = False
        self.taken = 0

    def on_result(self, flags: int, head: tuple[int, int, int, int], section: bytes,
                  fd: int | None) -> None:  # fmt: skip
        for kind, payload in frames.split_items(section, head[2]):
            self.items.append((kind, payload, fd))
            fd = None  # it belongs to the first
        self.ready = True

    def on_reply(self, reply: dict[str, Any]) -> None:
        from volant.wire.faults import decode_fault

        self.fail(decode_fault(reply["fault"]))

    def resubmit(self) -> list[tuple[bytes, int | None]]:
        self.fail(
            ConnectionError(
                "the connection to the hub was lost in the middle of a generator call",
                hint="values cannot be taken up where they stopped; call again",
            )
        )
        return []

    def release(self) -> None:
        """Close the files of values that nobody takes."""
        while self.items:
            fd = self.items.popleft()[2]
            if fd is not None:
                os.close(fd)

    def take(self, local_path: Callable[[str], str | None] | None) -> tuple[bool, Any]:
        """The next value as (True, value), or (False, None) at the end; call when `ready`.

        Raises:
            BaseException: the user's own exception, after the values before it.
        """
        kind, payload, fd = self.items.popleft()
        self.ready = False
        if self.items:  # looked at after the write: another thread may have fed us in between
            self.ready = True
        if kind == frames.EXHAUSTED:
            self.finished = True
            return False, None
        plain = {frames.YIELD: frames.PICKLE, frames.YIELD_MAPPED: frames.MAPPED}.get(kind, kind)
        ok, value = decode_item(plain, payload, fd, local_path)
        if not ok:
            self.finished = True
            raise value
        self.taken += 1
        if self.taken % CREDIT_EVERY == 0:
            self.channel.tell("credit", call=self.number, count=CREDIT_EVERY)
        return True, value
