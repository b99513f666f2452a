"""What build steps keep for later ones: each cache a directory that goes as a whole, or stays.

    <home>/images/uv/             what uv has of packages; layers have links to its files
                  caches/<id>/    all others, each with an id that is a hash of its name
                  caches.json     {"<id>": {"name": "…", "used_at": 1732621080.2, …}}

Its size is what becomes free when it goes: a file that a layer has as well is that one's. To
measure takes a while, so it is done when a cache was used since, and somebody wants to know. Times
are written down here, and not taken from directories: steps write to these as they like. No cache
may go while a step is built. Called from threads as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING

from volantd.images.kept.books import wall_clock
from volantd.usage import bytes_below

if TYPE_CHECKING:
    from volantd.images.kept.unsettled import Unsettled

#: The cache of uv, by its id and by its name.
UV, UV_NAME = "uv", "packages of Python"
#: Of a name that somebody gave to a cache of a build.
NAME_CHARS_MAX = 100
#: A directory that nothing is written down of is called like this, with its beginning.
_UNKNOWN, _UNKNOWN_CHARS = "cache", 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """One cache.

    Attributes:
        name: what is in it, for people.
        used_at: when a step used it last.
        size_bytes: what becomes free when it goes, as it was measured last.
        is_measured: whether nothing has changed that since.
    """

    name: str
    used_at: float
    size_bytes: int = 0
    is_measured: bool = False


class Caches:
    """The caches of one store.

    Attributes:
        uv: the directory of uv's.
    """

    def __init__(self, root: str, unsettled: Unsettled) -> None:
        self._unsettled = unsettled
        self.uv = os.path.join(root, UV)
        self._others = os.path.join(root, "caches")
        self._book = os.path.join(root, "caches.json")
        self._lock = Lock()
        self._caches: dict[str, Cache] = {}

    def open(self) -> None:
        """Make the directories, and read what is written down of those in them."""
        for directory in (self.uv, self._others):
            os.makedirs(directory, 0o700, exist_ok=True)
            os.chmod(directory, 0o700)  # steps share them, and may have closed them
        known = self._read()
        there = [*os.listdir(self._others), *([UV] if os.listdir(self.uv) else [])]
        self._caches = {
            one: known.get(one) or Cache(name=_name_of(one), used_at=0.0) for one in there
        }

    def _read(self) -> dict[str, Cache]:
        try:
            with open(self._book, encoding="ascii") as source:
                return {one: Cache(**fields) for one, fields in json.load(source).items()}
        except (OSError, ValueError, TypeError, AttributeError):
            return {}  # none yet, or cut off by a full disk

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a full disk; only the order in which they go is lost
            with open(f"{self._book}.new", "w", encoding="ascii") as target:
                json.dump({one: asdict(cache) for one, cache in self._caches.items()}, target)
            os.replace(f"{self._book}.new", self._book)

    # -- using

    def directory(self, name: str) -> str:
        """The directory of a cache, which a step is about to use; what is in it may vanish."""
        one = hashlib.sha256(name.encode()).hexdigest()
        path = os.path.join(self._others, one)
        os.makedirs(path, 0o755, exist_ok=True)
        self._use(one, name)
        return path

    def use_uv(self) -> None:
        """Note that a step uses the cache of uv."""
        self._use(UV, UV_NAME)

    def _use(self, one: str, name: str) -> None:
        self._unsettled.note()
        with self._lock:
            before = self._caches.get(one)
            self._caches[one] = Cache(
                name=name[:NAME_CHARS_MAX], used_at=wall_clock(),
                size_bytes=0 if before is None else before.size_bytes,
            )  # fmt: skip
            self._write()

    # -- what there is

    def all(self) -> dict[str, Cache]:
        """Every cache, by its id."""
        with self._lock:
            return dict(self._caches)

    @property
    def is_measured(self) -> bool:
        """Whether the sizes of all are as they were measured."""
        return all(cache.is_measured for cache in self.all().values())

    @property
    def total_bytes(self) -> int:
        """What all take up, as they were measured last."""
        return sum(cache.size_bytes for cache in self.all().values())

    def measure(self) -> None:
        """Measure what may have changed, while no step is built. It may take a while."""
        for one, cache in self.all().items():
            if cache.is_measured:
                continue
            size = bytes_below(self._path(one), is_alone=True)
            with self._lock:
                if self._caches.get(one) is cache:  # no step has begun to use it meanwhile
                    self._caches[one] = replace(cache, size_bytes=size, is_measured=True)
        with self._lock:
            self._write()

    def doubt(self) -> None:
        """Note that layers have gone: files that they shared with a cache are its alone now."""
        with self._lock:
            if UV in self._caches:
                self._caches[UV] = replace(self._caches[UV], is_measured=False)

    # -- the end

    def forget(self, one: str) -> list[str]:
        """Forget a cache; returns the paths that are to be removed."""
        with self._lock:
            self._caches.pop(one, None)
            self._write()
        path = self._path(one)
        if one != UV:
            return [path]
        return [os.path.join(path, name) for name in os.listdir(path)]

    def _path(self, one: str) -> str:
        return self.uv if one == UV else os.path.join(self._others, one)


def _name_of(one: str) -> str:
    return UV_NAME if one == UV else f"{_UNKNOWN} {one[:_UNKNOWN_CHARS]}"
