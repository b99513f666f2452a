"""What programs of sandboxes print, taken by a daemon that has other things to do."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from volantd.agent.sandboxes.output import (
    DRAIN_BYTES_MAX,
    OUTPUT_BYTES_MAX,
    READ_BYTES,
    Output,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_nothing_is_read_while_who_hears_is_behind(tmp_path: Path) -> None:
    async def check() -> None:
        asked, heard = asyncio.Event(), asyncio.Queue[bytes]()
        is_behind = True

        def is_congested() -> bool:
            asked.set()
            return is_behind

        reads, writes = os.pipe()
        output = Output(reads, str(tmp_path), heard.put_nowait, is_congested=is_congested)
        os.write(writes, b"said")
        await asked.wait()
        assert heard.empty()
        is_behind = False
        assert await heard.get() == b"said"
        output.forget()
        os.close(writes)

    asyncio.run(check())


def test_a_pipe_that_is_filled_as_fast_as_it_is_read_is_left(tmp_path: Path) -> None:
    async def check() -> None:
        reads, writes = os.pipe()
        taken = 0

        def hears(data: bytes) -> None:
            nonlocal taken
            taken += len(data)
            os.write(writes, data)

        output = Output(reads, str(tmp_path), hears)
        os.write(writes, bytes(64 << 10))
        output.drain()
        assert taken == DRAIN_BYTES_MAX
        output.forget()
        os.close(writes)

    asyncio.run(check())


def test_the_beginning_waits_for_a_first_reader_however_much_comes(tmp_path: Path) -> None:
    async def check() -> None:
        reads, writes = os.pipe()
        full, count = asyncio.Event(), 0

        def hears(data: bytes) -> None:
            nonlocal count
            count += len(data)
            if count + READ_BYTES > OUTPUT_BYTES_MAX:
                full.set()

        output = Output(reads, str(tmp_path), hears)
        printed = b"".join(b"%07d\n" % number for number in range(OUTPUT_BYTES_MAX // 4))
        printing = asyncio.create_task(asyncio.to_thread(_write_all, writes, printed))
        await full.wait()
        read = b""
        reader: Any = Reader()
        while len(read) < len(printed):
            at, data, _ = await output.read(reader, len(read))
            read += data
            assert at == len(read)
        assert read == printed
        await printing
        output.forget()

    asyncio.run(check())


def test_a_log_that_is_slower_than_a_program_is_told_what_it_lacks(tmp_path: Path) -> None:
    async def check() -> None:
        reads, writes = os.pipe()
        heard, missed, ended = bytearray(), list[int](), asyncio.Event()
        output = Output(reads, str(tmp_path), heard.extend, ended.set, misses=missed.append)
        reader: Any = Reader()
        printed = bytes(2 * OUTPUT_BYTES_MAX)
        printing = asyncio.create_task(asyncio.to_thread(_write_all, writes, printed))
        at, is_over = 0, False
        while not is_over:
            at, _, is_over = await output.read(reader, at)
        await printing
        await ended.wait()
        assert at == len(printed)
        assert missed
        assert len(heard) + sum(missed) == len(printed)
        output.forget()

    asyncio.run(check())


def test_a_log_that_somebody_follows_lacks_nothing(tmp_path: Path) -> None:
    async def check() -> None:
        reads, writes = os.pipe()
        heard, missed, ended = bytearray(), list[int](), asyncio.Event()
        output = Output(
            reads, str(tmp_path), heard.extend, ended.set, misses=missed.append,
            is_whole=lambda: True,
        )  # fmt: skip
        printed = os.urandom(1 << 16) * (2 * OUTPUT_BYTES_MAX >> 16)
        printing = asyncio.create_task(asyncio.to_thread(_write_all, writes, printed))
        reader: Any = Reader()
        at, is_over = 0, False
        while not is_over:
            at, _, is_over = await output.read(reader, at)
        await printing
        assert ended.is_set()
        assert (bytes(heard), missed) == (printed, [])
        output.forget()

    asyncio.run(check())


class Reader:
    """A client, as far as it is asked whether it is still there."""

    def __init__(self) -> None:
        self.peer = self
        self.closed = False


def _write_all(fd: int, data: bytes) -> None:
    with open(fd, "wb", buffering=0) as pipe:
        view = memoryview(data)
        while view:
            view = view[pipe.write(view) or 0 :]
