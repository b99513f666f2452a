"""Where a zygote waits: in the cgroup of its next container, which is therefore born in it.

    zygote in leaf i --FORK--> FORKED --worker thread--> zygote in leaf i+1, made for that
                                                         leaf i is the container's alone

Who moves a process between cgroups waits for a grace period of the kernel: 5 to 25 ms, unless
somebody just did. So no start waits for a move unless starts come in quick succession, when
moves are cheap; and none is made on the event loop. Owns the leaf that nobody has been born in
yet. A leaf that was given away is its container's; that must wait for `alone` before it sets
limits that a zygote might exceed, and before it removes the leaf.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.runtime.cgroup import Cgroup


class Leaves:
    """Makes leaves, and moves zygotes into them, on a thread of its own."""

    def __init__(self, make: Callable[[], Cgroup]) -> None:
        """`make`: a fresh leaf with the limits that everything has; called on that thread."""
        self._make = make
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cgroups")

    def make(self) -> asyncio.Future[Cgroup]:
        """A fresh leaf."""
        return asyncio.get_running_loop().run_in_executor(self._thread, self._make)

    def move(self, pid: int, home: Cgroup | None) -> asyncio.Future[Cgroup]:
        """A fresh leaf with a process in it; if that fails, the process goes `home`."""
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._thread, self._make_and_move, pid, home)

    def _make_and_move(self, pid: int, home: Cgroup | None) -> Cgroup:
        leaf = None
        try:
            leaf = self._make()
            leaf.add(pid)
        except OSError:
            if home is not None:
                home.add(pid)
            if leaf is not None:
                leaf.remove()
            raise
        return leaf

    @staticmethod
    def remove(leaf: Cgroup) -> None:
        """Remove a leaf whose processes are gone or to be killed, off the event loop."""
        asyncio.get_running_loop().run_in_executor(None, leaf.remove)


class Place:
    """A leaf: where a zygote waits first, and one container's once that is born.

    Attributes:
        cgroup: the leaf.
        alone: done once the zygote sits there no more.
    """

    def __init__(self, cgroup: Cgroup) -> None:
        self.cgroup = cgroup
        self.alone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def remove(self) -> None:
        """Remove the leaf as soon as the zygote has left it."""
        self.alone.add_done_callback(lambda _: Leaves.remove(self.cgroup))


class Seat:
    """The seat of one zygote.

    Attributes:
        waiting_count: forks that wait for their turn.
    """

    def __init__(self, pid: int, home: Cgroup | None, leaves: Leaves) -> None:
        """`home`: where the zygote is now, and where its own memory is counted."""
        self.waiting_count = 0
        self._pid = pid
        self._home = home
        self._leaves = leaves
        self._turn = asyncio.Lock()
        self._given: Place | None = None
        self._ahead: asyncio.Task[Place] | None = None
        self._ended = False

    def go_ahead(self) -> None:
        """Begin to move the zygote into the next leaf, if it is not there or on its way."""
        ahead = self._ahead
        if self._given is not None or self._ended:
            return
        if ahead is None or (ahead.done() and ahead.exception() is not None):
            self._begin_move(None)

    def _begin_move(self, left: Place | None) -> None:
        self._ahead = asyncio.get_running_loop().create_task(self._move(left), name="move-zygote")
        self._ahead.add_done_callback(_note)

    async def _move(self, left: Place | None) -> Place:
        try:
            return Place(await self._leaves.move(self._pid, self._home))
        finally:
            if left is not None:
                left.alone.set_result(None)

    async def take(self) -> Place:
        """The leaf in which the zygote sits, at one's turn, which ends with `leave`.

        Raises:
            OSError: there can be no leaf, or the zygote has ended.
        """
        self.waiting_count += 1
        try:
            await self._turn.acquire()
        finally:
            self.waiting_count -= 1
        try:
            self._check()
            self.go_ahead()
            assert self._ahead is not None
            place = await asyncio.shield(self._ahead)
            self._check()
        except BaseException:
            self._turn.release()
            raise
        self._ahead, self._given = None, place
        return place

    def leave(self, place: Place) -> None:
        """Move the zygote on: a container was born in the leaf, or will not be. May come twice."""
        if self._given is not place:
            return
        self._given = None
        if self._ended:
            place.alone.set_result(None)
        else:
            self._begin_move(place)
        self._turn.release()

    def end(self) -> None:
        """Note that the zygote is dead: the leaf ahead goes too."""
        if self._ended:
            return
        self._ended = True
        if self._given is not None:
            self.leave(self._given)
        if self._ahead is not None:
            self._ahead.add_done_callback(_remove_unused)

    def _check(self) -> None:
        if self._ended:
            raise ProcessLookupError("its zygote is dead")


def _note(moved: asyncio.Task[Place]) -> None:
    """Whoever takes the leaf hears why there is none; if nobody does, it is no news."""
    if not moved.cancelled():
        moved.exception()


def _remove_unused(moved: asyncio.Task[Place]) -> None:
    if not moved.cancelled() and moved.exception() is None:
        Leaves.remove(moved.result().cgroup)
