"""Streams of what runs in sandboxes: iterated by lines or read to their end, written with drain.

What a command prints comes through a pipe of its own, so a reader that does not read stops the
command and nobody else. What a sandbox's own program prints, the daemon keeps, and is asked for.
"""

from __future__ import annotations

import os
import select
from codecs import getincrementaldecoder

from volant.errors import ClientClosed, ExecutionError
from volant.sdk.generics import Generic, T
from volant.sdk.objects.asking import ask, awaited, blocking, both
from volant.sdk.objects.handle import at_once
from volant.sdk.sandboxes.asking import AskForDescriptors, ReadPipe, WritePipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from typing import Any

    from volant.sdk.objects.asking import Question, Steps

#: What a writer keeps until `drain`.
WRITE_BYTES_MAX = 2 << 20


class StreamType:
    """Where the output of a command goes."""

    #: To `stdout` and `stderr` of its process.
    PIPE = -1
    #: To the output of this process.
    STDOUT = 1
    #: Nowhere.
    DEVNULL = -3


class PipeSource:
    """Bytes out of a pipe of a command's own."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def next(self) -> Question:
        """The question for the next bytes."""
        return ReadPipe(self._fd)

    def took(self, reply: dict[str, object]) -> bytes:
        """The bytes of an answer; none at the end."""
        data = reply["data"]
        assert isinstance(data, bytes)
        return data

    def close(self) -> None:
        """Let go of the pipe."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


class KeptSource:
    """Bytes that the program of a sandbox printed, from its beginning on."""

    def __init__(self, sandbox_id: str, stream: str) -> None:
        self._sandbox_id = sandbox_id
        self._stream = stream
        self._offset = 0

    def next(self) -> Question:
        """The question for the next bytes."""
        return ask(
            "sandbox_read", sandbox_id=self._sandbox_id, stream=self._stream, offset=self._offset
        )

    def took(self, reply: dict[str, object]) -> bytes:
        """The bytes of an answer; none at the end."""
        offset, data = reply["offset"], reply["data"]
        assert isinstance(offset, int) and isinstance(data, bytes)
        self._offset = offset
        return data

    def close(self) -> None:
        """Nothing has to be let go of."""


class NoSource:
    """Where nothing comes from."""

    def close(self) -> None:
        """Nothing has to be let go of."""


class StreamReader(Generic[T]):
    """What something in a sandbox prints: iterated by lines, or `read()` to its end.

    Text unless `text=False` was said; bytes that are no UTF-8 become U+FFFD in it.
    """

    def __init__(self, source: PipeSource | KeptSource | NoSource, *, is_text: bool) -> None:
        self._source = source
        self._is_text = is_text
        self._decoder = getincrementaldecoder("utf-8")("replace") if is_text else None
        #: read, and not yet given: whole lines behind the first
        self._rest: list[str] | list[bytes] = []
        self._ended = isinstance(source, NoSource)
        self._detached = False

    def _empty(self) -> T:
        empty: T = "" if self._is_text else b""  # type: ignore[assignment]  # what T is
        return empty

    def _chunk(self) -> Steps[T]:
        """The next of it; empty at its end."""
        if self._detached:
            raise ClientClosed("this sandbox was detached", hint="Sandbox.from_id finds it again")
        while not self._ended:
            assert not isinstance(self._source, NoSource)
            data = self._source.took((yield self._source.next()))
            self._ended = not data
            if self._ended:
                self._source.close()
            found: Any = data
            if self._decoder is not None:
                found = self._decoder.decode(data, not data)
            if found:
                chunk: T = found
                return chunk
        return self._empty()

    @both
    def read(self) -> Steps[T]:
        """All that has not been read, as soon as it is over; empty when that was done before.

        Raises:
            ClientClosed: after `Sandbox.detach`.
        """
        pieces: list[T] = [*self._rest]
        self._rest = []
        while piece := (yield from self._chunk()):
            pieces.append(piece)
        whole: T = self._empty().join(pieces)  # type: ignore[attr-defined]  # str and bytes have it
        return whole

    def _line(self) -> Steps[T]:
        """The next line with its end; empty when there is none."""
        begun: list[T] = []
        newline = "\n" if self._is_text else b"\n"
        while True:
            if not self._rest:
                chunk = yield from self._chunk()
                if not chunk:
                    break
                self._rest = _lines(chunk, newline)
            begun.append(self._rest.pop(0))  # type: ignore[arg-type]  # as above
            if begun[-1].endswith(newline):  # type: ignore[attr-defined]  # as above
                break
        line: T = self._empty().join(begun)  # type: ignore[attr-defined]  # as above
        return line

    def __iter__(self) -> Iterator[T]:
        while line := blocking(self._line()):
            yield line

    async def __aiter__(self) -> AsyncIterator[T]:
        while line := await awaited(self._line()):
            yield line

    @property
    def close(self) -> at_once[[], None]:
        """Read no more of it: `reader.close()`; what is printed from then on is lost."""
        return at_once(self._end)

    async def aclose(self) -> None:
        """The same, awaited."""
        self._end()

    def _end(self) -> None:
        self._ended, self._rest = True, []
        if not isinstance(self._source, NoSource):
            self._source.close()

    def _let_go(self) -> None:
        self._detached = True
        self._source.close()


def _lines(data: Any, newline: str | bytes) -> Any:
    """Lines with their ends; only a line feed ends one."""
    *whole, rest = data.split(newline)
    return [line + newline for line in whole] + ([rest] if rest else [])


class StreamWriter:
    """What something in a sandbox reads: `write`, then `drain`; `write_eof` ends it."""

    def __init__(self, fd: int = -1, *, sandbox_id: str = "") -> None:
        """Write to a descriptor, or to what the program of a sandbox reads."""
        self._fd = fd
        self._sandbox_id = sandbox_id
        self._pending = bytearray()
        self._has_eof = False
        self._closed = False
        self._detached = False

    def write(self, data: bytes | bytearray | memoryview | str) -> None:
        """Take data; `drain` sends it.

        Raises:
            ValueError: after `write_eof`, or when nobody reads any more.
            TypeError: for what is neither bytes nor text.
            BufferError: for more than `WRITE_BYTES_MAX` without a drain.
        """
        self._check()
        if self._has_eof or self._closed or self._is_broken():
            raise ValueError("the stdin is closed: nothing written now would be read")
        if isinstance(data, str):
            data = data.encode("utf-8")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"write takes bytes or text, got {type(data).__name__}")
        if len(self._pending) + len(data) > WRITE_BYTES_MAX:
            raise BufferError(f"more than {WRITE_BYTES_MAX} bytes wait: call drain() in between")
        self._pending += data

    def write_eof(self) -> None:
        """Say that nothing comes after what was written; `drain` says it on."""
        self._check()
        self._has_eof = True

    @both
    def drain(self) -> Steps[None]:
        """Send what was written, as fast as it is read.

        Raises:
            ValueError: when nobody reads any more.
        """
        self._check()
        if self._closed:
            return
        data, self._pending = bytes(self._pending), bytearray()
        try:
            if self._fd < 0:
                yield from self._fetch()
            if data:
                yield WritePipe(self._fd, data)
        except (OSError, ExecutionError):
            self._close()
            if data:
                raise ValueError("the stdin is closed: what runs there has ended") from None
            return  # an end that nobody waits for any more
        if self._has_eof:
            self._close()
            if self._sandbox_id:
                yield ask("sandbox_stdin_eof", sandbox_id=self._sandbox_id)

    def _fetch(self) -> Steps[None]:
        reply = yield AskForDescriptors("sandbox_stdin", sandbox_id=self._sandbox_id)
        [self._fd] = reply["fds"]

    def _is_broken(self) -> bool:
        """Whether it is plain that nobody reads."""
        if self._fd < 0:
            return False
        poll = select.poll()
        poll.register(self._fd, 0)
        return bool(poll.poll(0))

    def _check(self) -> None:
        if self._detached:
            raise ClientClosed("this sandbox was detached", hint="Sandbox.from_id finds it again")

    def _close(self) -> None:
        self._closed = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _let_go(self) -> None:
        self._detached = True
        self._close()

    def __del__(self) -> None:
        self._close()
