"""What programs of sandboxes print, taken by a daemon that has other things to do."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from volantd.agent.sandboxes.output import DRAIN_BYTES_MAX, Output

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
        output.close()
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
        output.close()
        os.close(writes)

    asyncio.run(check())
