"""Sidecars: what they are forked from, and that they end with their sandbox.

    its sandbox has started ─► the base of that shows the sidecar's image too ─► fork beside it

To all else a sidecar is a sandbox: commands, files, limits, logs and lists are the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volant.errors import ExecutionError, InvalidError, ResourceExhaustedError
from volantd.agent.bare import built_environment
from volantd.agent.sandboxes.bases import Base
from volantd.agent.sandboxes.kernels import gvisor
from volantd.images import described
from volantd.runtime.client import RuntimeFailedError
from volantd.runtime.sandboxes.sidecars import Beside, Views

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.agent.bare import Machine
    from volantd.agent.sandboxes.bases import Bases
    from volantd.agent.sandboxes.live import Live
    from volantd.agent.tasks import Tasks
    from volantd.hub.records import Version
    from volantd.runtime.client import Zygote

#: Images that one base shows to sidecars; they stay until it ends.
IMAGES_MAX = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """An image that a base shows beside its own: numbers of its layers, and what it says."""

    first: int
    count: int
    cwd: str | None
    env: dict[str, str]
    entrypoint: tuple[str, ...]


class Sidecars:
    """Finds what sandboxes are forked from, sidecars among them."""

    def __init__(self, machine: Machine, bases: Bases, tasks: Tasks) -> None:
        self._machine = machine
        self._bases = bases
        self._tasks = tasks
        self._views: Views | None = None
        self._shown: dict[str, dict[str, asyncio.Future[_Shown]]] = {}

    async def base(self, live: Live, version: Version, say: Callable[[bytes], None]) -> Base:
        """What a sandbox is forked from; of a sidecar, once its sandbox has started.

        Args:
            live: the sandbox.
            version: of its function, with secrets.
            say: hears what is printed while its image is built.

        Raises:
            ImageBuildError: when its image cannot be built.
            RuntimeFailedError: when there can be no base.
            ExecutionError: when its sandbox has ended, or is paused; without what it runs on.
        """
        if not live.sandbox.sidecar_of:
            return await self._bases.get(version, say, await gvisor.chosen(live.sandbox))
        host = await self._started(live)
        live.sandbox.runtime = host.sandbox.runtime
        own = host.sandbox.function.version
        if _identity(version) == _identity(own):
            base = Base(env=host.base.env, entrypoint=host.base.entrypoint)
            base.beside = Beside(container=host.forked, cwd=None)
        else:
            shown = await self._show(host.base.zygote, version, say)
            await self._started(live)
            base = Base(env=shown.env, entrypoint=shown.entrypoint)
            base.beside = Beside(
                container=host.forked, first=shown.first, count=shown.count, cwd=shown.cwd
            )
        base.zygote = host.base.zygote
        return base

    @staticmethod
    async def _started(live: Live) -> Live:
        """The sandbox of a sidecar, which runs."""
        host, sandbox = live.host, live.sandbox
        if host is not None:
            await asyncio.shield(host.sandbox.started)
        if host is None or host.executions is None or host.ending is not None:
            text = f"sandbox {sandbox.sidecar_of} has finished, so it can have no sidecar"
            raise ExecutionError(text)
        if host.sandbox.is_paused:
            raise ExecutionError(
                f"sandbox {sandbox.sidecar_of} is paused, and runs nothing",
                hint="resume() lets it go on",
            )
        return host

    async def _show(self, zygote: Zygote, version: Version, say: Callable[[bytes], None]) -> _Shown:
        """Have a base show the image of a sidecar, if it does not yet."""
        known = self._shown.get(zygote.zygote_id)
        if known is None:
            known = self._shown[zygote.zygote_id] = {}
            zygote.exited.add_done_callback(lambda _: self._shown.pop(zygote.zygote_id))
        key = _identity(version)
        found = known.get(key)
        if found is None:
            if len(known) >= IMAGES_MAX:
                raise ResourceExhaustedError(
                    f"sidecars of {IMAGES_MAX} images were made beside sandboxes of this one, "
                    "which is the most",
                    hint="it is over when no sandbox of that image runs any more",
                )
            found = known[key] = asyncio.get_running_loop().create_future()
            found.add_done_callback(lambda made: made.exception() and known.pop(key))
            self._tasks.start(self._make(zygote, version, say, found), "show-image")
        return await asyncio.shield(found)

    async def _make(
        self, zygote: Zygote, version: Version, say: Callable[[bytes], None],
        made: asyncio.Future[_Shown],
    ) -> None:  # fmt: skip
        try:
            files = await self._bases.files_of(version)
            async with self._bases.images.use(version, say) as built:
                if built.machine is not None:
                    raise InvalidError(
                        f"image {built.image_id} lies over this machine's own files, so only a "
                        "sidecar of a sandbox of the same image can have it",
                        hint="give it an image such as volant.Image.debian_slim()",
                    )
                if self._views is None:
                    self._views = Views(self._machine.launcher)
                first, count = await self._views.show(zygote, built.layers, files)
            env, entrypoint = built_environment(built), built.entrypoint
            made.set_result(
                _Shown(first=first, count=count, cwd=built.workdir, env=env, entrypoint=entrypoint)
            )
        except Exception as error:
            if isinstance(error, (OSError, ValueError)):
                error = RuntimeFailedError(str(error))
            made.set_exception(error)
            made.exception()  # whoever waits gets it
            if not isinstance(error, RuntimeFailedError) and not hasattr(error, "code"):
                raise


def _identity(version: Version) -> str:
    """What says whether two images are the same, with the files that come with them."""
    return repr((described.identity(version.image), sorted(map(list, version.files))))
