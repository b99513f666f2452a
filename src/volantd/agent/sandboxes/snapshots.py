"""Snapshots of the files of sandboxes: images that no step can make again.

    freeze ─► copy what the sandbox wrote into a layer ─► thaw ─► record: its image, and that layer
    freeze ─► copy all that a directory shows          ─► thaw ─► record: that layer alone

A snapshot is an image like any other, kept until its time is over however full the store is. The
sandbox goes on with its own files, of which a snapshot has a copy.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from volant.errors import SnapshotCreationError
from volant.runner import linux
from volantd import patience
from volantd.images import described
from volantd.images.kept.books import EXPIRES_AT, SNAPSHOT, Record, wall_clock
from volantd.images.kept.copying import BrokenOffError, Copy
from volantd.images.keys import LOOKED_UP, image_id
from volantd.runtime import tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeAlias

    from volantd.agent.images import Images
    from volantd.agent.sandboxes.live import Live
    from volantd.runtime.containers.forked import ForkedContainer

    #: Copies on a thread; what the layer of it lies on, and the key of that.
    Make: TypeAlias = Callable[[Live, Copy], tuple[Record, str | None]]

log = logging.getLogger(__name__)

#: Where what is written to the root of a container lies in its scratch directory.
_UPPER = "root"
#: Snapshots on top of each other whose layers stay apart; one more has all that they hold, for the
#: names of the layers of one mount fit into a page. Over a tree of this machine each has its path.
LAYERS_MAX = 32
NAMES_BYTES_MAX, NAME_BYTES = 3000, 24
#: What is made for each container anew.
ITS_OWN = ("etc/hosts", "etc/resolv.conf")
#: Where the files that come with an image lie, from its base's own directory.
_ATTACHED_AT = "root"


class Snapshots:
    """Makes snapshots, and forgets them when their time is over."""

    def __init__(self, images: Images) -> None:
        self._images = images
        self._loop = asyncio.get_running_loop()
        images.opened.add_done_callback(self._on_opened)

    # -- making

    async def take(self, live: Live, timeout_s: float, ttl_s: float | None) -> dict[str, Any]:
        """An image with what a sandbox sees now, as if a client had asked for it by its id.

        Args:
            live: the sandbox, which has started; its turn is held.
            timeout_s: for all of it.
            ttl_s: how long the image is kept; None for as long as nobody removes it.

        Raises:
            SnapshotCreationError: when it takes too long, or cannot be written.
        """
        return await self._take(live, "", self._copy_written, timeout_s, ttl_s)

    async def take_directory(
        self, live: Live, path: str, fd: int, timeout_s: float, ttl_s: float | None
    ) -> dict[str, Any]:
        """An image with what lies in one directory, and nothing else; arguments as of `take`.

        Args:
            live: the sandbox.
            path: of the directory, for whoever looks at the list of images.
            fd: the directory, open to be walked; closed here.
            timeout_s: see `take`.
            ttl_s: see `take`.

        Raises:
            SnapshotCreationError: as `take`.
        """

        def copy_all(live: Live, copy: Copy) -> tuple[Record, str | None]:
            directory = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            try:
                with _frozen(live):
                    copy.add_open(directory)
            finally:
                os.close(directory)
            return Record(), None

        try:
            return await self._take(live, path, copy_all, timeout_s, ttl_s)
        finally:
            os.close(fd)

    async def _take(
        self, live: Live, path: str, make: Make, timeout_s: float, ttl_s: float | None
    ) -> dict[str, Any]:
        sandbox = live.sandbox
        key = token_hex(32)
        until = None if ttl_s is None else wall_clock() + ttl_s
        step = {"kind": SNAPSHOT, "path": f"{sandbox.sandbox_id}{path and ':'}{path}",
                EXPIRES_AT: until}  # fmt: skip
        place = self._images.store.begin()
        copy = Copy(os.path.join(place, "diff"), _first_id(live))
        timer = self._loop.call_later(timeout_s, setattr, copy, "is_wanted", False)
        try:
            async with live.turn:  # or it could be paused meanwhile, and go on when this is done
                await patience.on_thread(self._make, live, copy, make, place, key, step)
        except BrokenOffError:
            what = f"a snapshot of {sandbox.sandbox_id} was not done within {timeout_s:g} s"
            raise SnapshotCreationError(what) from None
        except OSError as error:
            what = f"a snapshot of {sandbox.sandbox_id} cannot be made: {error}"
            raise SnapshotCreationError(what) from error
        finally:
            timer.cancel()
            copy.is_wanted = False
            await asyncio.to_thread(self._images.store.discard, place)
        self._await_end(key, step)
        made: dict[str, Any] = {
            "kind": "built", "steps": [{"kind": LOOKED_UP, "key": key}], "attached": [],
            "contents": {}, "secrets": {},
        }  # fmt: skip
        described.settle(made, key, sandbox.app.app_id)
        return made

    def _make(
        self, live: Live, copy: Copy, make: Make, place: str, key: str, step: dict[str, Any]
    ) -> None:
        """On a thread: copy, and write down what came of it."""
        store = self._images.store
        below, parent = make(live, copy)
        if _forked(live).exited.done():  # so its files may have been removed meanwhile
            raise OSError("it has ended meanwhile")

        def note(layer_id: str) -> None:
            store.books.add(key, below.with_snapshot(layer_id), step, parent)

        store.keep(place, key[:22], is_written=False, then=note)

    def _copy_written(self, live: Live, copy: Copy) -> tuple[Record, str | None]:
        """On a thread: copy what a sandbox wrote; what that lies on, and its key."""
        version = live.sandbox.function.version
        below, base_key = self._below(version.image)
        scratch = _forked(live).scratch_path
        state_dir = os.path.dirname(os.path.dirname(scratch))
        trees = [] if below.machine is None else tree.changeable(state_dir)
        with _frozen(live):
            # First, while nothing that the sandbox made lies on the way to the trees.
            for index, path in enumerate(trees):
                copy.add(os.path.join(scratch, str(index)), below=path.lstrip("/"))
            copy.add(os.path.join(scratch, _UPPER), leave_out=ITS_OWN)
            if version.files:
                lower = os.path.join(state_dir, _lower_of(live, below), _ATTACHED_AT)
                copy.add(lower, below=_ATTACHED_AT)
        if below.snapshot_count < layers_max(trees):
            return below, base_key
        for layer in below.layers[: -below.snapshot_count - 1 : -1]:
            copy.add_layer(self._images.store.layer_path(layer))
        return below.without_snapshots(), base_key

    def _below(self, image: dict[str, Any]) -> tuple[Record, str | None]:
        """What an image is made of, and its key; this machine's has none."""
        if image["kind"] == "host":
            return Record(machine=image), None
        key = image[described.KEY]
        record = self._images.store.record(key)
        if record is None:
            raise OSError(f"image {image_id(key)} is no more in the store")
        return record, key

    # -- their time

    def _on_opened(self, opened: asyncio.Future[None]) -> None:
        if opened.exception() is not None:
            return
        books = self._images.store.books
        for key in list(books.pinned):
            self._await_end(key, books.entries[key].step)

    def _await_end(self, key: str, step: dict[str, Any]) -> None:
        until = step[EXPIRES_AT]
        if until is None or key not in self._images.store.books.entries:
            return
        if until <= wall_clock():
            log.info("snapshot_expired", extra={"fields": {"image_id": image_id(key)}})
            self._images.store.books.forget(key)
            self._images.sweep()
        else:
            self._loop.call_later(until - wall_clock(), self._await_end, key, step)


def is_of_directory(step: dict[str, Any]) -> bool:
    """Whether a step made an image of one directory, and not of all that a sandbox sees."""
    return bool(step["kind"] == SNAPSHOT and ":" in step["path"])


def layers_max(trees: list[str]) -> int:
    """How many snapshots on top of each other have a layer each."""
    longest = max((len(os.fsencode(linux.escaped(path))) for path in trees), default=0)
    return min(LAYERS_MAX, NAMES_BYTES_MAX // (NAME_BYTES + longest))


def _lower_of(live: Live, image: Record) -> str:
    """What lies above the image of a sandbox, from the directory of its base."""
    beside = live.base.beside
    if beside is not None and beside.count:
        return beside.lower
    return "lower" if image.machine is None else "root"


def _forked(live: Live) -> ForkedContainer:
    assert live.running is not None and live.running.child is not None
    return live.running.child.forked


def _first_id(live: Live) -> int | None:
    """What id 0 of a sandbox is on this machine; None where it is its user's."""
    return os.stat(_forked(live).scratch_path).st_uid if os.geteuid() == 0 else None


@contextlib.contextmanager
def _frozen(live: Live) -> Iterator[None]:
    """Have nothing in a sandbox run meanwhile; without control groups all goes on."""
    place = _forked(live).place
    if place is None or live.sandbox.is_paused:  # and stays so
        yield
        return
    place.cgroup.freeze()
    try:
        yield
    finally:
        place.cgroup.thaw()
