"""Archives of packages that were downloaded once, kept by the digest of their content.

Steps see copies, and whatever they leave is kept under the digest that it really has. So no step
can slip a package of its own to another image: that one asks for the digest that is signed.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: A line of `apt-get --print-uris`: the file that apt will look for, its size and its digest.
_LINE = re.compile(r"'[^'\n]+' ([A-Za-z0-9][\w.+~%-]{0,250}\.deb) (\d{1,12}) SHA256:([0-9a-f]{64})")
#: Of all archives that are kept; when more would be, those used longest ago go.
BYTES_MAX = 4 << 30


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that apt is about to use.

    Attributes:
        name: of its file.
        size: in bytes.
        digest: sha256 of its content, as its signed index says.
    """

    name: str
    size: int
    digest: str


def parse_wanted(printed: str) -> list[Archive]:
    """The archives that apt says it would fetch."""
    return [Archive(name, int(size), digest) for name, size, digest in _LINE.findall(printed)]


class Archives:
    """A shelf of archives.

    Args:
        place: a directory of their own.
        bytes_max: of all of them.
    """

    def __init__(self, place: str, bytes_max: int = BYTES_MAX) -> None:
        self._place = place
        self._bytes_max = bytes_max

    def offer(self, wanted: Iterable[Archive], target: str) -> None:
        """Put copies of those that are here where apt looks for them."""
        for archive in wanted:
            kept = os.path.join(self._place, archive.digest)
            if os.path.isfile(kept):
                os.utime(kept)
                shutil.copyfile(kept, os.path.join(target, archive.name))

    def keep(self, wanted: Iterable[Archive], target: str) -> None:
        """Keep those that were downloaded, each if it is what was wanted."""
        for archive in wanted:
            kept = os.path.join(self._place, archive.digest)
            path = os.path.join(target, archive.name)
            if not os.path.exists(kept) and _digest(path) == archive.digest:
                os.rename(path, kept)
                os.chown(kept, os.geteuid(), os.getegid())
        self._evict()

    def _evict(self) -> None:
        with os.scandir(self._place) as entries:
            kept = sorted((entry.stat().st_mtime_ns, entry.stat().st_size, entry.path)
                          for entry in entries)  # fmt: skip
        excess = sum(size for _, size, _ in kept) - self._bytes_max
        for _, size, path in kept:
            if excess <= 0:
                return
            os.unlink(path)
            excess -= size


def _digest(path: str) -> str | None:
    """The sha256 of a plain file; None for anything else, which a step may have left there."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(path, flags), "rb") as source:  # a directory is refused here
            is_plain = stat.S_ISREG(os.fstat(source.fileno()).st_mode)
            return hashlib.file_digest(source, "sha256").hexdigest() if is_plain else None
    except OSError:
        return None
