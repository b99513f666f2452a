"""A payload that is sent in a memory file, and the reader that maps it."""

from __future__ import annotations

import os
from collections import deque
from typing import Any

import numpy as np

from volant.wire import arena, payloads
from volant.wire.frames import INLINE_BYTES_MAX, MAPPED
from volant.wire.stream import LentFd

SIZE = INLINE_BYTES_MAX + 5


class Sent:
    """One payload, and a reader of it."""

    def __init__(self, value: int, size: int = SIZE, pool: str = "pool") -> None:
        self.releases: deque[tuple[int, bool]] = deque()
        _, self.payload, fd = payloads.dumps(np.full(size, value, dtype=np.uint8), pool)
        assert isinstance(fd, arena.SentFd)
        self.fd, self.token = fd, fd.token
        self.inode = os.fstat(fd).st_ino

    def read(self) -> Any:
        fd = LentFd(os.dup(self.fd))
        fd.releases = self.releases
        return payloads.loads(MAPPED, self.payload, fd)

    def settle(self, *, reusable: bool = True) -> None:
        payloads.close_sent(self.fd, reusable=reusable)

    def release(self, *, reusable: bool = True) -> None:
        tokens = [self.token]
        payloads.on_released(
            {"tokens": tokens if reusable else [], "lost": [] if reusable else tokens}
        )
