"""What a sandbox that runs has among its files: images mounted and taken away, volumes reloaded.

    mount_image     image here? ─► layers held ─► a directory to write to ─► the launcher's helper
    its end         layers let go; what was written goes with the sandbox's scratch directory

A mount is known by the path that its creator gave, and to the kernel by a source that is drawn
here. Layers are held until the sandbox ends: what is unmounted may still be open in it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

from volant.errors import Error, ExecutionError, InvalidError, NotFoundError
from volantd.agent.sandboxes.snapshots import is_of_directory
from volantd.images import described
from volantd.images.keys import image_id
from volantd.runtime.client import RuntimeFailedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from volantd.agent.agent import Agent
    from volantd.agent.images import Images
    from volantd.agent.sandboxes.commands import Executions
    from volantd.agent.sandboxes.live import Live
    from volantd.agent.sandboxes.snapshots import Snapshots
    from volantd.agent.tasks import Tasks
    from volantd.hub.sandboxes.record import Sandbox
    from volantd.runtime.containers.forked import ForkedContainer

#: Images that are mounted in a sandbox during its life, those that were taken away among them.
MOUNTS_MAX = 100


class _Mounts:
    """The images of one sandbox: path -> source; `count` also has those that are gone."""

    def __init__(self) -> None:
        self.sources: dict[str, str] = {}
        self.count = 0
        self.turn = asyncio.Lock()


class Contents:
    """The images and volumes of sandboxes that run."""

    def __init__(
        self, agent: Agent, images: Images, snapshots: Snapshots, tasks: Tasks,
        started: Callable[[Sandbox], Awaitable[tuple[Live, Executions]]],
    ) -> None:  # fmt: skip
        """`started`: waits until a sandbox has started, and raises when it has finished."""
        self._agent = agent
        self._images = images
        self._snapshots = snapshots
        self._tasks = tasks
        self._started = started
        self._mounts: dict[str, _Mounts] = {}

    # -- images

    def has_had_images(self, sandbox: Sandbox) -> bool:
        """Whether any were mounted in a sandbox."""
        mounts = self._mounts.get(sandbox.sandbox_id)
        return mounts is not None and mounts.count > 0

    async def mount(self, sandbox: Sandbox, path: str, wanted: str) -> None:
        """Mount an image that is here; what is written there goes with the sandbox.

        Args:
            sandbox: which.
            path: where, absolute; made if it is not there.
            wanted: the image's id.

        Raises:
            NotFoundError: when there is no such image.
            InvalidError: when one is mounted there already, or too many were.
            ExecutionError: when the sandbox has finished, or nothing can be mounted there.
        """
        live, _ = await self._started(sandbox)
        await asyncio.shield(self._images.opened)
        forked = _forked(live)
        mounts = self._mounts_of(sandbox)
        async with mounts.turn:
            if path in mounts.sources:
                raise InvalidError(
                    f"an image is mounted at {path!r} already", hint="unmount_image takes it away"
                )
            if mounts.count >= MOUNTS_MAX:
                raise InvalidError(f"{MOUNTS_MAX} images were mounted in it, which is the most")
            mounts.count += 1
            source = f"{sandbox.sandbox_id}-{mounts.count}"
            writable = os.path.join(forked.scratch_path, f"image-{mounts.count}")
            layers = self._hold(source, wanted)[::-1]
            row = {
                "image": "mount", "target": path, "source": source, "layers": layers,
                "writable": writable,
            }  # fmt: skip
            like = layers[0] if self._is_directory(wanted) else None
            try:
                await asyncio.to_thread(_make_writable, writable, like)
                await self._agent.machine.launcher.mount(forked, [row])
            except (OSError, RuntimeFailedError) as error:
                self._agent.machine.launcher.layers.pop(source, None)
                raise _failed(sandbox, f"no image can be mounted at {path!r}", error) from error
            mounts.sources[path] = source

    def _mounts_of(self, sandbox: Sandbox) -> _Mounts:
        found = self._mounts.get(sandbox.sandbox_id)
        if found is None:
            found = self._mounts[sandbox.sandbox_id] = _Mounts()
            sandbox.finished.add_done_callback(lambda _: self._forget(sandbox))
        return found

    def _hold(self, source: str, wanted: str) -> tuple[str, ...]:
        """The directories of an image's layers, the lowest first, which nobody removes now."""
        store, key = self._images.store, self._images.key_of_id(wanted)
        record = store.record(key)
        if record is None:
            raise NotFoundError(f"image {wanted[:100]!r} is no more in the store")
        if record.machine is not None:
            raise InvalidError(
                f"image {wanted[:100]!r} lies over this machine's own files, so it cannot be "
                "mounted in a directory",
                hint="snapshot_directory makes an image of one directory alone",
            )
        store.books.use(key)
        layers = tuple(map(store.layer_path, record.layers))
        self._agent.machine.launcher.layers[source] = layers
        return layers

    def _is_directory(self, wanted: str) -> bool:
        """Whether an image is the snapshot of a directory, which had an owner and a mode."""
        books = self._images.store.books
        return is_of_directory(books.entries[self._images.key_of_id(wanted)].step)

    def _forget(self, sandbox: Sandbox) -> None:
        mounts = self._mounts.pop(sandbox.sandbox_id)
        for count in range(mounts.count):
            source = f"{sandbox.sandbox_id}-{count + 1}"
            self._agent.machine.launcher.layers.pop(source, None)

    async def unmount(self, sandbox: Sandbox, path: str) -> None:
        """Take an image away that was mounted; what is open of it stays open.

        Raises:
            NotFoundError: when none is mounted there.
            ExecutionError: when the sandbox has finished, or that cannot be done.
        """
        live, _ = await self._started(sandbox)
        mounts = self._mounts_of(sandbox)
        async with mounts.turn:
            source = mounts.sources.get(path)
            if source is None:
                known = ", ".join(sorted(mounts.sources)) or "none"
                raise NotFoundError(
                    f"no image is mounted at {path[:200]!r}", hint=f"there is {known}"
                )
            row = {"image": "unmount", "source": source}
            try:
                await self._agent.machine.launcher.mount(_forked(live), [row])
            except RuntimeFailedError as error:
                raise _failed(sandbox, f"{path!r} cannot be unmounted", error) from error
            del mounts.sources[path]

    async def snapshot(
        self, sandbox: Sandbox, path: str, timeout_s: float, ttl_s: float | None
    ) -> str:
        """The id of an image of what one directory shows, as `Snapshots.take_directory` makes it.

        Raises:
            ExecutionError: when the sandbox has finished, or the directory cannot be opened.
            SnapshotCreationError: when the image cannot be made.
        """
        live, _ = await self._started(sandbox)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            row = {"image": "open", "target": path}
            try:
                await self._agent.machine.launcher.mount(_forked(live), [row], theirs)
                ours.setblocking(False)
                _, fds, _, _ = socket.recv_fds(ours, 1, 1, socket.MSG_CMSG_CLOEXEC)
            except (OSError, RuntimeFailedError) as error:
                raise _failed(sandbox, f"{path!r} cannot be opened", error) from error
        made = await self._snapshots.take_directory(live, path, fds[0], timeout_s, ttl_s)
        return image_id(made[described.KEY])

    # -- volumes

    async def reload(self, sandbox: Sandbox, timeout_s: float) -> None:
        """Have a sandbox see what others have committed to its volumes.

        Raises:
            ConflictError: while files of one are open in it.
            TimeoutError: when that takes too long; it goes on.
            ExecutionError: when the sandbox has finished, or it cannot be done.
        """
        live, _ = await self._started(sandbox)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks.start(self._reload(live, done), "reload-volumes")
        done.add_done_callback(lambda _: done.cancelled() or done.exception())  # if nobody waits
        async with asyncio.timeout(timeout_s):
            await asyncio.shield(done)

    async def _reload(self, live: Live, done: asyncio.Future[None]) -> None:
        """Not to be broken off: what is mounted anew has to be noted."""
        sandbox = live.sandbox
        try:
            async with self._mounts_of(sandbox).turn:
                for one in sandbox.function.options["volumes"]:
                    if "bucket" not in one:
                        of = sandbox.container_id, one["volume"]
                        await self._agent.volumes.reload(*of)
            done.set_result(None)
        except Error as error:
            done.set_exception(error)
        except (OSError, RuntimeFailedError) as error:
            done.set_exception(_failed(sandbox, "its volumes cannot be reloaded", error))
        finally:
            if not done.done():
                done.cancel()


def _forked(live: Live) -> ForkedContainer:
    assert live.running is not None and live.running.child is not None
    return live.running.child.forked


def _failed(sandbox: Sandbox, what: str, error: Exception) -> ExecutionError:
    return ExecutionError(f"{what} in sandbox {sandbox.sandbox_id}: {_reason(error)}")


def _reason(error: Exception) -> str:
    """Why something failed, without what a system call says of itself ahead of that."""
    text = str(error)
    for number in (errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.ELOOP):
        if f"[Errno {number}]" in text:
            return os.strerror(number).lower()
    return text


def _make_writable(directory: str, like: str | None) -> None:
    """Make what an overlay writes to, as the sandbox's root whose scratch directory it lies in.

    Args:
        directory: to be made.
        like: a directory of a layer, whose owner and mode the root of the overlay has to show.
    """
    owner = os.stat(os.path.dirname(directory))
    upper = f"{directory}/upper"
    for path in (directory, upper, f"{directory}/work"):
        os.mkdir(path, 0o755)
        os.chown(path, owner.st_uid, owner.st_gid)
    if like is not None:
        shown = os.stat(like)
        if os.geteuid() == 0:  # else all is one user's
            os.chown(upper, owner.st_uid + shown.st_uid, owner.st_gid + shown.st_gid)
        os.chmod(upper, stat.S_IMODE(shown.st_mode))
