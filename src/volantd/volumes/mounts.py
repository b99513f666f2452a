"""Volumes as containers have them: what each began with, what it wrote, what it has committed.

open ─► checkout of the state + a directory to write to ─► mounted by the agent
commit   what was written since the last commit, merged into the latest state
refresh  the same, then the latest state and a fresh directory, for a container that reloads
close    at its end, after a last commit
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from volant import ids
from volantd import removal
from volantd.core.volumes import trees
from volantd.core.volumes.entries import DIRECTORY, fresh_directory
from volantd.core.volumes.merging import merge
from volantd.volumes.attributes import set_attributes
from volantd.volumes.scanning import Scan, Seen

if TYPE_CHECKING:
    from volantd.core.volumes.entries import Entry
    from volantd.volumes.attributes import Owners
    from volantd.volumes.checkouts import Checkout, Checkouts
    from volantd.volumes.nodes import StoredNodes
    from volantd.volumes.states import State, States


class View:
    """One state as it is mounted: what lies below, and where it is written to."""

    def __init__(self, checkout: Checkout, base: Entry, directory: str) -> None:
        """`directory`: has `upper` and `work`; "" for a view that is only read."""
        self.checkout = checkout
        self.base = base
        self.directory = directory
        #: What the container had when it committed last.
        self.committed = base
        self.seen = Seen(os.path.basename(directory))


class Mount:
    """One volume in one container.

    Attributes:
        volume_id: its id.
        target: where it is in the container.
        parts: the directory of the volume that is mounted.
        view: what is mounted now.
        told: names that were passed over and that its user was told of.
    """

    def __init__(
        self, volume_id: str, target: str, parts: tuple[str, ...], made_by: str, view: View
    ) -> None:
        self.volume_id = volume_id
        self.target = target
        self.parts = parts
        self.made_by = made_by
        self.view = view
        self.turn = asyncio.Lock()
        self.told: set[str] = set()
        #: How long the last look at it took.
        self.scan_s = 0.0

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written to it."""
        return not self.view.directory


class Mounts:
    """The volumes in the containers of this machine.

    Args:
        directory: of what containers write.
    """

    def __init__(
        self, states: States, checkouts: Checkouts, owners: Owners, directory: str
    ) -> None:
        self._states = states
        self._checkouts = checkouts
        self._owners = owners
        self._directory = directory
        self._trash = os.path.join(directory, "trash")
        self._all: set[Mount] = set()

    def clean(self) -> None:
        """Remove what containers of dead daemons wrote; ahead of all else."""
        if not os.path.isdir(self._directory):
            return
        os.chmod(self._directory, 0o700)
        os.makedirs(self._trash, mode=0o700, exist_ok=True)
        for name in os.listdir(self._directory):
            if name != "trash":
                removal.remove_tree(os.path.join(self._directory, name), self._trash)

    async def open(
        self, volume_id: str, target: str, parts: tuple[str, ...], *, read_only: bool, made_by: str
    ) -> Mount:
        """Make ready what a container is to have of a volume.

        Raises:
            WrongKindError: when something else than a directory is to be mounted.
            OSError: when it cannot be made ready.
        """
        view = await self._view(volume_id, parts, read_only=read_only, made_by=made_by)
        mount = Mount(volume_id, target, parts, made_by, view)
        self._all.add(mount)
        return mount

    async def _view(
        self, volume_id: str, parts: tuple[str, ...], *, read_only: bool, made_by: str
    ) -> View:
        state = await self._states.latest(volume_id)
        if parts:
            state = await self._states.change(
                volume_id,
                lambda nodes, root: trees.made_directories(nodes, root, parts, state.root.mtime_ns),
                action=f"make {'/'.join(parts)} to mount it", made_by=made_by,
            )  # fmt: skip
        return await self._states.on_thread(
            lambda nodes: self._made(nodes, state, volume_id, parts, read_only=read_only)
        )

    def _made(
        self, nodes: StoredNodes, state: State, volume_id: str, parts: tuple[str, ...],
        *, read_only: bool,
    ) -> View:  # fmt: skip
        base = trees.find(nodes, state.root, parts)
        assert base is not None
        family = f"{volume_id}/{'/'.join(parts)}"
        checkout = self._checkouts.take(nodes, base, family)
        if read_only:
            return View(checkout, base, "")
        directory = os.path.join(self._directory, ids.new_id("vw"))
        upper = os.path.join(directory, "upper")
        # What containers of root's daemon write there has owners of this machine.
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        removal.spread(self._directory)
        os.makedirs(upper, mode=0o755)
        os.mkdir(os.path.join(directory, "work"), 0o755)
        fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            set_attributes(fd, base, self._owners, are_new=True)  # the mount's root shows these
        finally:
            os.close(fd)
        return View(checkout, base, directory)

    async def commit(
        self, mount: Mount, *, action: str, is_still: bool = False, waits: bool = False
    ) -> tuple[State | None, list[str]]:
        """Commit what a container has changed since it did last.

        Args:
            action: how the state is described.
            is_still: nothing in the container lives any more.
            waits: leave alone what is being written, for the next time.

        Returns:
            the state, None if nothing has changed; and names that cannot be in a volume and that
            have not been told of before.

        Raises:
            TooMuchError: beyond a limit of volumes.
            OSError: when contents cannot be kept.
        """
        async with mount.turn:
            if mount.is_read_only or mount not in self._all:
                return None, []
            with self._states.working():
                return await self._commit(mount, action, is_still=is_still, waits=waits)

    async def _commit(
        self, mount: Mount, action: str, *, is_still: bool, waits: bool
    ) -> tuple[State | None, list[str]]:
        view = mount.view

        def look(nodes: StoredNodes) -> tuple[Entry, list[str]]:
            scan = Scan(
                self._states.contents, nodes, self._owners, view.seen, is_still=is_still,
                waits=waits,
            )  # fmt: skip
            upper = os.path.join(view.directory, "upper")
            tree = scan.run(upper, view.base, view.committed, len(mount.parts))
            return tree, scan.passed_over

        begun = asyncio.get_running_loop().time()
        try:
            tree, passed_over = await self._states.on_thread(look)
            state = None
            if tree != view.committed:
                before = view.committed
                state = await self._states.change(
                    mount.volume_id,
                    lambda nodes, root: merged(nodes, root, mount.parts, before, tree),
                    action=action, made_by=mount.made_by,
                )  # fmt: skip
                view.committed = tree
        except BaseException:
            view.seen = Seen(view.seen.token)  # what it has read may be swept before it is named
            raise
        mount.scan_s = asyncio.get_running_loop().time() - begun
        news = [name for name in passed_over if name not in mount.told]
        mount.told.update(news)
        return state, news

    async def fresh_view(self, mount: Mount) -> View:
        """The latest state, to be mounted in place of the present one; see `adopt`."""
        return await self._view(
            mount.volume_id, mount.parts, read_only=mount.is_read_only, made_by=mount.made_by
        )

    async def adopt(self, mount: Mount, view: View) -> None:
        """Note that another view is mounted now; unless the mount was closed meanwhile."""
        async with mount.turn:
            if mount in self._all:
                mount.view, view = view, mount.view
            await self.discard(view)

    async def discard(self, view: View) -> None:
        """Remove a view that is mounted nowhere."""
        await self._states.on_thread(lambda _: self._remove(view))

    def _remove(self, view: View) -> None:
        if view.directory:
            os.makedirs(self._trash, mode=0o700, exist_ok=True)
            removal.remove_tree(view.directory, self._trash)
        self._checkouts.release(view.checkout)

    async def close(self, mount: Mount) -> None:
        """Forget a mount that is no more."""
        async with mount.turn:
            self._all.discard(mount)
            await self.discard(mount.view)

    def in_use(self) -> list[Entry]:
        """The trees that mounts need."""
        return [tree for mount in self._all for tree in (mount.view.base, mount.view.committed)]


def merged(
    nodes: StoredNodes, root: Entry, parts: tuple[str, ...], before: Entry, after: Entry
) -> Entry:
    """A volume's tree with what has changed in one of its directories."""
    theirs = trees.find(nodes, root, parts)
    result = merge(nodes, before, after, theirs)
    assert result is not None
    if not parts:
        return result
    made = root
    if theirs is None or theirs.kind != DIRECTORY:
        made = trees.changed(nodes, root, {parts: fresh_directory(nodes, after.mtime_ns)}, 0)
    if result == trees.find(nodes, made, parts):
        return made
    return trees.changed(nodes, made, {parts: result}, after.mtime_ns)
