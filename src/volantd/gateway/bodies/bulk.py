"""Large bodies of responses, passed from socket to socket by the kernel.

    the container's socket ══splice══► a pipe ══splice══► the client's socket

No byte of data is copied into this process: what it costs is left to whoever takes the bytes. Only
the framing between chunks is read, checked, and put into the pipe in its place. The pipe is empty
between two calls, so that one serves all: what a client does not take at once is read out of it,
and waits as anything does that is sent on slowly.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

from volantd.gateway import limits
from volantd.gateway.heads import RefusedError

if TYPE_CHECKING:
    from volantd.gateway.back import Back
    from volantd.gateway.bodies.chunks import Chunks
    from volantd.gateway.front import Front

#: What is read where framing is due: a write of so much to a pipe is done whole or not at all.
_LOOK_BYTES = 4096


class Pipe:
    """A pipe that holds nothing between two uses."""

    __slots__ = ("drain", "size", "tap")

    def __init__(self) -> None:
        """Make one, of the usual size where this user may have no larger one.

        Raises:
            OSError: when there are no descriptors left.
        """
        #: Where bytes come out, and where they are put in.
        self.drain, self.tap = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self.tap, fcntl.F_SETPIPE_SZ, limits.BULK_PIPE_BYTES)
        self.size = fcntl.fcntl(self.tap, fcntl.F_GETPIPE_SZ)


def is_possible(front: Front) -> bool:
    """Whether what a client is sent are the bytes that the container sent, and no others."""
    transport = front.transport
    is_plain = transport.get_extra_info("socket") is not None  # a request of HTTP/2 has none
    return is_plain and not front.without_chunks and transport.get_extra_info("sslcontext") is None


class Bulk:
    """What passes a response's body on while its bytes are many and known to be data."""

    __slots__ = (
        "_back", "_chunks", "_front", "_in_pipe", "_is_held", "_left", "_pipe", "_source",
        "_step", "_target",
    )  # fmt: skip

    def __init__(
        self, back: Back, front: Front, pipe: Pipe, left: int, chunks: Chunks | None
    ) -> None:
        """Begin, as soon as the loop comes to it.

        Args:
            back: the connection to the container, which is not read from meanwhile.
            front: whose response it is, for whom it is possible.
            pipe: an empty one.
            left: bytes of data that come next, all of the body's or all of a chunk's.
            chunks: the framing behind these, if there is any.

        Raises:
            OSError: when there are no descriptors left.
        """
        self._back, self._front, self._pipe = back, front, pipe
        self._left, self._chunks = left, chunks
        self._in_pipe = 0
        self._is_held = True
        #: As many bytes at once as the client has been able to take.
        self._step = pipe.size
        # A descriptor of its own, for the loop knows the other one as a transport's.
        self._source = os.dup(back.transport.get_extra_info("socket").fileno())
        self._target: int = front.transport.get_extra_info("socket").fileno()
        # The client is stuck as soon as anything waits in its transport, and so nothing overtakes.
        front.transport.set_write_buffer_limits(high=0)

    def hold(self) -> None:
        """Pass nothing on."""
        if not self._is_held:
            self._is_held = True
            self._back.loop.remove_reader(self._source)

    def go_on(self) -> None:
        """Pass on what comes."""
        if self._is_held:
            self._is_held = False
            self._back.loop.add_reader(self._source, self._pass)

    def close(self) -> int:
        """Be done with it; returns how many bytes of data are still to come."""
        self.hold()
        os.close(self._source)
        if not self._front.transport.is_closing():
            self._front.transport.set_write_buffer_limits(high=limits.WRITE_BYTES_HIGH)
        return self._left

    def _pass(self) -> None:
        """Pass on what is there, once."""
        is_over, refused = False, ""
        try:
            is_over = self._fill()
        except BlockingIOError:
            pass  # nothing is there, or the pipe is full
        except OSError:
            is_over = True  # the transport will find the same, and tell
        except RefusedError as error:
            refused = error.text
        self._empty()
        if refused:
            self._front.cut_off(refused)
        elif is_over:
            self._back.end_bulk()

    def _fill(self) -> bool:
        """Put into the pipe what is there; True when what follows is not for here.

        Raises:
            BlockingIOError: when no more is there.
            OSError: for a connection that broke.
            RefusedError: for chunks that cannot be.
        """
        while self._in_pipe < self._step and not self._is_held:
            if not self._left:
                if self._chunks is None:
                    self._look_behind()
                    return True
                if not self._look(self._chunks):
                    return True
                continue
            wanted = min(self._left, self._step - self._in_pipe)
            size = os.splice(self._source, self._pipe.tap, wanted, flags=os.SPLICE_F_NONBLOCK)
            if not size:
                return True
            self._left -= size
            self._in_pipe += size
            if self._chunks is not None:
                self._chunks.skip(size)
        return False

    def _look_behind(self) -> None:
        """See whether the container says more than it should, or ends its connection."""
        try:
            os.read(self._source, 1)
        except BlockingIOError:
            return  # as it should be
        self._back.has_said_too_much()

    def _look(self, chunks: Chunks) -> bool:
        """Read the framing between two chunks; False when what follows is not for here.

        Raises:
            BlockingIOError: when none is there.
            OSError: for a connection that broke.
            RefusedError: for chunks that cannot be.
        """
        data = os.read(self._source, _LOOK_BYTES)
        if not data:
            return False
        size = chunks.feed(data)
        if size < len(data):
            self._back.has_said_too_much()
        self._left = chunks.left
        try:
            self._in_pipe += os.write(self._pipe.tap, data[:size])
        except BlockingIOError:
            self._empty()
            self._front.relay(data[:size])
        return self._left >= limits.BULK_BYTES_MIN

    def _empty(self) -> None:
        """Give the client what is in the pipe."""
        in_pipe, self._in_pipe = self._in_pipe, 0
        if not in_pipe:
            return
        taken = 0
        with contextlib.suppress(OSError):  # is full, or has left: its transport finds that out
            while taken < in_pipe and not self._is_held:
                taken += os.splice(
                    self._pipe.drain, self._target, in_pipe - taken, flags=os.SPLICE_F_NONBLOCK
                )
        self._front.sent += taken
        if taken < in_pipe:
            self._step = max(taken, limits.BULK_STEP_BYTES_MIN)
            self._front.relay(os.read(self._pipe.drain, in_pipe - taken))
        else:
            self._step = min(2 * self._step, self._pipe.size)
