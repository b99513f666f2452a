"""Images on disk: layers as directories, and the books that say which image has which.

    <home>/images/layers/<id>/diff          the files of one layer, owners as containers see them
                             /about.json    its size, measured once, and when it was begun
                  unsettled                 there while a power cut could take a part of it away
                  blobs/                    what a registry is sending
                  caches/, uv/              what build steps keep for later ones (`kept.caches`)
                  work/                     what is being made
                  trash/                    what is being removed

A layer is made in `work` and renamed into place, then the record of its image is (`books`): a
daemon that is killed in between leaves a layer that nobody knows, and never half of one. Records
go before layers, too. What a killed daemon left is removed when the next one opens the store.
A layer that is made anew gets another name, because containers may run on the one that is there.
The directory is its user's alone: layers hold programs that would run with their owner's rights.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from pathlib import Path
from secrets import token_hex
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from volantd import removal
from volantd.images.files import settle
from volantd.images.kept.books import Books, Record
from volantd.images.kept.caches import Caches
from volantd.images.kept.modes import settle_modes
from volantd.images.kept.names import Names
from volantd.images.kept.unsettled import Unsettled
from volantd.usage import bytes_below

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterator

    from volantd.images.kept.packing import Packed

log = logging.getLogger(__name__)

__all__ = ["Record", "Store"]

_ABOUT = "about.json"


class Store:
    """The images of one daemon home.

    Layers are made on threads, and removed from the event loop: all that either may do to them is
    done under one lock.

    Attributes:
        books: what is known of images.
        names: what published names mean.
        unsettled: what may not be on the disk yet.
        caches: what build steps keep for later ones.
        blobs: where what registries send arrives.
    """

    def __init__(self, home: str) -> None:
        self._root = os.path.join(home, "images")
        self.books = Books(self._root)
        self.names = Names(self._part("names.json"))
        self.unsettled = Unsettled(self._root)
        self.caches = Caches(self._root, self.unsettled)
        self.blobs = self._part("blobs")
        self._layers = self._part("layers")
        self._work = self._part("work")
        self._trash = self._part("trash")
        self._lock = Lock()
        self._emptying = Lock()
        #: when each place was begun, in seconds since 1970
        self._began: dict[str, float] = {}
        #: bytes of each layer
        self.sizes: dict[str, int] = {}
        #: when a layer was made, or looked for by somebody who goes on to use it
        self._touched: dict[str, float] = {}
        #: layers that are being made from what a registry has, each by one thread
        self._making: dict[str, Lock] = {}

    def _part(self, name: str) -> str:
        return os.path.join(self._root, name)

    def open(self) -> None:
        """Make the directories, and set aside what a killed daemon left half done.

        Raises:
            OSError: when they cannot be used.
            ValueError: when the published names cannot be read.
        """
        os.makedirs(self._root, 0o700, exist_ok=True)
        for part in (self.blobs, self._layers, self._work, self._trash):
            os.makedirs(part, 0o700, exist_ok=True)
        removal.spread(self._work)
        self.caches.open()
        self._discard(os.path.join(self.caches.uv, "out"))
        for directory in (self._work, self.blobs):
            self._discard_all(directory)
        lost = self.unsettled.lost()
        if lost:
            log.warning("images_not_trusted", extra={"fields": {"period": lost}})
            for one in self.caches.all():
                self.clear_cache(one)
        for layer_id in os.listdir(self._layers):
            size = self._size_of(layer_id, lost)
            if size is not None:
                self.sizes[layer_id] = size
        self.books.open(self.sizes.__contains__)
        self.names.open(self.books.entries)
        for layer_id in set(os.listdir(self._layers)) - self._referred():
            self._discard(os.path.join(self._layers, layer_id))
            self.sizes.pop(layer_id, None)
        if lost:
            self.unsettled.settle()

    def _size_of(self, layer_id: str, lost: str) -> int | None:
        """The size of a layer as it was measured; None when this may be no whole layer."""
        try:
            about = self._about(layer_id)
            size = about["size_bytes"]
        except (OSError, ValueError, LookupError, TypeError):
            return None
        if lost and about.get("period") == lost:
            return None
        return size if type(size) is int and self._is_there(layer_id) else None

    def _about(self, layer_id: str) -> dict[str, Any]:
        with open(os.path.join(self._layers, layer_id, _ABOUT), encoding="ascii") as source:
            about: dict[str, Any] = json.load(source)
        return about

    # -- making layers

    def new_place(self) -> str:
        """Where a layer can be begun; nothing is there yet."""
        return os.path.join(self._work, token_hex(8))

    def begin(self, place: str = "") -> str:
        """A fresh directory for a layer that is being made: `diff` and `work`, both empty."""
        self.unsettled.note()
        place = place or self.new_place()
        os.mkdir(place, 0o700)
        self._began[place] = os.stat(place).st_mtime  # the clock of files is behind the other one
        for name in ("diff", "work"):
            os.mkdir(os.path.join(place, name), 0o755)
        return place

    def clear_work(self, place: str) -> None:
        """Make a place fit for one more command: what the last one's overlay left goes."""
        work = os.path.join(place, "work")
        self._discard(work)
        os.mkdir(work, 0o755)

    def discard(self, place: str) -> None:
        """Remove what `begin` made, and whatever came to lie there."""
        self._began.pop(place, None)
        self._discard(place)
        self.empty_trash()

    def keep(
        self, place: str, layer_id: str, *, is_written: bool = True,
        then: Callable[[str], None] = lambda name: None,
    ) -> str:  # fmt: skip
        """Make what lies in `place` a layer, and measure it.

        Args:
            place: from `begin`.
            layer_id: the id that it gets if there is no layer of that.
            is_written: whether a build has written it, and not somebody else at other times: then
                it gets the times that it has on every machine.
            then: notes what has the layer, before anybody could find that nothing has.

        Returns:
            Its id: the one that was asked for, or a longer one if there is a layer of that.
        """
        self._discard(os.path.join(place, "work"))
        if os.geteuid() != 0:
            settle_modes(os.path.join(place, "diff"))
        if is_written:
            settle(os.path.join(place, "diff"), self._began[place])
        size = bytes_below(os.path.join(place, "diff"))
        with open(os.path.join(place, _ABOUT), "w", encoding="ascii") as target:
            about = {"size_bytes": size, "began_at": self._began[place]}
            json.dump({**about, "period": self.unsettled.note()}, target)
        with self._lock:
            name, number = layer_id, 0
            while os.path.lexists(os.path.join(self._layers, name)):
                number += 1
                name = f"{layer_id}.{number}"
            os.rename(place, os.path.join(self._layers, name))
            self.sizes[name] = size
            self._touched[name] = monotonic()
            then(name)
        return name

    # -- layers on their way

    def pack(self, layer_id: str, target: Path) -> Packed:
        """Write a layer into a new file, for another machine.

        Raises:
            OciError: for what has no form in an archive.
        """
        from volantd.images.kept.packing import pack  # 30 ms, which no start of a daemon pays

        about = self._about(layer_id)
        return pack(self.layer_path(layer_id), target, written_from=about["began_at"])

    def unpack(self, blob: Path, packed: Packed, layer_id: str) -> str:
        """Make a layer of such a file; what it has to be comes from who is trusted.

        Returns:
            The layer's id, as `keep`.

        Raises:
            OciError: when it is another one, broken or hostile.
        """
        from volantd.images.kept.packing import unpack

        place = self.begin()
        try:
            os.rmdir(os.path.join(place, "diff"))
            unpack(blob, Path(place, "diff"), packed)
            return self.keep(place, layer_id, is_written=False)
        finally:
            self.discard(place)

    @contextlib.contextmanager
    def making(self, layer_id: str) -> Iterator[None]:
        """Hold off others that would make the same layer. For threads."""
        with self._lock:
            lock = self._making.setdefault(layer_id, Lock())
        with lock:
            yield

    def has_layer(self, layer_id: str) -> bool:
        """Whether a layer is here; it stays while the step that asks is being built."""
        with self._lock:
            self._touched[layer_id] = monotonic()
            return self._is_there(layer_id)

    def _is_there(self, layer_id: str) -> bool:
        return os.path.isdir(self.layer_path(layer_id))

    def newest_layer(self, beginning: str) -> str | None:
        """The id of the layer that was made last of those whose ids begin so; see `has_layer`."""
        with self._lock:
            found = [name for name in self.sizes if name.startswith(beginning)]
            newest = max(found, key=lambda name: self._about(name)["began_at"], default=None)
            if newest is not None:
                self._touched[newest] = monotonic()
        return newest

    def layer_path(self, layer_id: str) -> str:
        """The directory with the files of a layer."""
        return os.path.join(self._layers, layer_id, "diff")

    # -- what there is

    def record(self, key: str) -> Record | None:
        """What an image is made of, if all its layers are here; see `has_layer`."""
        entry = self.books.entries.get(key)
        if entry is None or not all(map(self.has_layer, entry.record.layers)):
            return None
        return entry.record

    @property
    def total_bytes(self) -> int:
        """What all layers and caches take up, as far as it is known."""
        return sum(self.sizes.values()) + self.caches.total_bytes

    def bytes_of(self, keys: Container[str]) -> int:
        """What becomes free when images go: the layers that these have and no others."""
        going: set[str] = set()
        staying: set[str] = set()
        for key, entry in self.books.entries.items():
            (going if key in keys else staying).update(entry.record.layers)
        return sum(self.sizes.get(layer, 0) for layer in going - staying)

    def _referred(self) -> set[str]:
        return {layer for entry in self.books.entries.values() for layer in entry.record.layers}

    # -- removing

    def sweep(self, in_use: Collection[str], before: float) -> int:
        """Set aside the layers that no image has.

        Args:
            in_use: directories of layers that something runs on: these stay for now.
            before: what was made or looked for after this moment (monotonic) stays as well.

        Returns:
            How many such layers had to stay.
        """
        left = 0
        with self._lock:
            for layer_id in self.sizes.keys() - self._referred():
                is_used = self.layer_path(layer_id) in in_use
                if is_used or self._touched.get(layer_id, 0.0) >= before:
                    left += 1
                    continue
                self._discard(os.path.join(self._layers, layer_id))
                del self.sizes[layer_id]
                self._touched.pop(layer_id, None)
                self.caches.doubt()
        return left

    def clear_cache(self, one: str) -> None:
        """Set aside a cache; no step may be built meanwhile."""
        for path in self.caches.forget(one):
            self._discard(path)

    def _discard_all(self, directory: str) -> None:
        for name in os.listdir(directory):
            self._discard(os.path.join(directory, name))

    def _discard(self, path: str) -> None:
        """Make something vanish at once; `empty_trash` frees its blocks."""
        with contextlib.suppress(FileNotFoundError):
            removal.move(path, os.path.join(self._trash, token_hex(8)))

    def empty_trash(self) -> None:
        """Free the blocks of what was set aside; it may take a while.

        Raises:
            OSError: when something cannot be removed; the next time it is tried again.
        """
        names = [""]
        while names and self._emptying.acquire(blocking=False):  # else another thread is at it
            try:
                names = os.listdir(self._trash)
                for name in names:
                    removal.remove_tree(os.path.join(self._trash, name), self._trash)
            finally:
                self._emptying.release()
