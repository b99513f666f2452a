"""Snapshots of the files of sandboxes: images that no step can make again.

    freeze ─► copy what the sandbox wrote into a layer ─► thaw ─► record: its image, and that layer

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

from volant.errors import InvalidError, SnapshotCreationError
from volantd import patience
from volantd.images import described
from volantd.images.kept.books import EXPIRES_AT, SNAPSHOT, wall_clock
from volantd.images.kept.copying import BrokenOffError, Copy
from volantd.images.keys import LOOKED_UP, image_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from volantd.agent.images import Images
    from volantd.agent.sandboxes.live import Live
    from volantd.runtime.seat import Place

log = logging.getLogger(__name__)

#: Where what is written to the root of a container lies in its scratch directory.
_UPPER = "root"
#: What is made for each container anew.
_ITS_OWN = ("etc/hosts", "etc/resolv.conf")
#: Where the files that come with an image lie, from its base's own directory.
_ATTACHED, _ATTACHED_AT = "lower/root", "root"


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
            live: the sandbox, which has started.
            timeout_s: for all of it.
            ttl_s: how long the image is kept; None for as long as nobody removes it.

        Raises:
            InvalidError: when its image is this machine.
            SnapshotCreationError: when it takes too long, or cannot be written.
        """
        sandbox = live.sandbox
        image = sandbox.function.version.image
        if image["kind"] == "host":
            raise InvalidError(
                f"sandbox {sandbox.sandbox_id} has this machine for its image, which no snapshot "
                "can be built on",
                hint="create it with an image such as volant.Image.debian_slim()",
            )
        key = token_hex(32)
        until = None if ttl_s is None else wall_clock() + ttl_s
        step = {"kind": SNAPSHOT, "path": sandbox.sandbox_id, EXPIRES_AT: until}
        place = self._images.store.begin()
        copy = Copy(os.path.join(place, "diff"), _first_id(live))
        timer = self._loop.call_later(timeout_s, setattr, copy, "is_wanted", False)
        try:
            await patience.on_thread(self._make, live, copy, place, key, step)
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

    def _make(self, live: Live, copy: Copy, place: str, key: str, step: dict[str, Any]) -> None:
        """On a thread: copy, and write down what came of it."""
        store, version = self._images.store, live.sandbox.function.version
        base_key = version.image[described.KEY]
        below = store.record(base_key)
        assert live.running is not None and live.running.child is not None
        forked = live.running.child.forked
        if below is None:
            raise OSError(f"image {image_id(base_key)} is no more in the store")
        state_dir = os.path.dirname(os.path.dirname(forked.scratch_path))
        with _frozen(forked.place):
            copy.add(os.path.join(forked.scratch_path, _UPPER), leave_out=_ITS_OWN)
            if version.files:
                copy.add(os.path.join(state_dir, _ATTACHED), below=_ATTACHED_AT)

        def note(layer_id: str) -> None:
            store.books.add(key, below.with_layers(layer_id), step, base_key)

        store.keep(place, key[:22], is_written=False, then=note)

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


def _first_id(live: Live) -> int | None:
    """What id 0 of a sandbox is on this machine; None where it is its user's."""
    assert live.running is not None and live.running.child is not None
    if os.geteuid() != 0:
        return None
    return os.stat(live.running.child.forked.scratch_path).st_uid


@contextlib.contextmanager
def _frozen(place: Place | None) -> Iterator[None]:
    """Have nothing in a control group run meanwhile; without one all goes on."""
    if place is None:
        yield
        return
    place.cgroup.freeze()
    try:
        yield
    finally:
        place.cgroup.thaw()
