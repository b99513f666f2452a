"""Bases: what sandboxes are forked from, one for each image in use.

    image ──► base: a zygote of this daemon's own Python, whose containers see the image alone
                └──FORK──► sandbox      └──COMMAND──► a command in it

The interpreter never runs anything of the image, which need not have one: it forks, enters the
cell, and executes. An image of this machine is run by its own interpreter, which is the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import sys
from collections import OrderedDict
from typing import TYPE_CHECKING

from volant import ids
from volantd.agent.bare import built_environment, zygote_spec
from volantd.images import described
from volantd.lent import package_dir
from volantd.runtime.client import RuntimeFailedError, ZygoteSpec
from volantd.runtime.seat import Leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from volantd.agent.bare import Machine
    from volantd.agent.images import Images
    from volantd.agent.tasks import Tasks
    from volantd.hub.blobs import BlobCache
    from volantd.hub.records import Version
    from volantd.images.builder import Built
    from volantd.runtime.client import Zygote

log = logging.getLogger(__name__)

#: Bases that are kept although no sandbox runs on them.
IDLE_MAX = 4
#: To write the files that come with an image.
PREPARE_TIMEOUT_S = 60.0
READ_BYTES = 4096


@dataclasses.dataclass(slots=True, kw_only=True, eq=False)
class Base:
    """What sandboxes of an image are forked from."""

    #: variables that the image gives
    env: dict[str, str]
    #: what starts before the program of a sandbox
    entrypoint: tuple[str, ...]
    zygote: Zygote = dataclasses.field(init=False)
    in_use: int = 0


class Bases:
    """The bases of this machine."""

    def __init__(self, machine: Machine, images: Images, blobs: BlobCache, tasks: Tasks) -> None:
        self._machine = machine
        self.images = images
        self._blobs = blobs
        self._tasks = tasks
        self._known: OrderedDict[str, asyncio.Future[Base]] = OrderedDict()

    async def get(self, version: Version, say: Callable[[bytes], None]) -> Base:
        """The base of a version's image.

        Args:
            version: its image, the files that come with that, and whether there is a network.
            say: hears what is printed while the image is built.

        Raises:
            ImageBuildError: when the image cannot be built.
            RuntimeFailedError: when there can be no base.
        """
        files = sorted(map(list, version.files))
        key = repr((described.identity(version.image), files, version.block_network))
        found = self._known.get(key)
        if found is None or _is_useless(found):
            found = self._known[key] = asyncio.get_running_loop().create_future()
            self._tasks.start(self._make(version, say, found), "make-base")
        self._known.move_to_end(key)
        base = await asyncio.shield(found)
        self._evict(base)
        return base

    def _evict(self, wanted: Base) -> None:
        idle = [
            key
            for key, one in self._known.items()
            if _is_useless(one) or (one.done() and not one.result().in_use)
        ]
        for key in idle[: max(0, len(idle) - IDLE_MAX)]:
            found = self._known[key]
            if not _is_useless(found):
                if found.result() is wanted:
                    continue
                found.result().zygote.kill()
            del self._known[key]

    async def _make(
        self, version: Version, say: Callable[[bytes], None], made: asyncio.Future[Base]
    ) -> None:
        try:
            if version.image["kind"] == "host":
                base = await self._boot(version, None)
            else:
                async with self.images.use(version, say) as built:
                    base = await self._boot(version, built)
            made.set_result(base)
        except Exception as error:
            made.set_exception(error)
            made.exception()  # whoever waits gets it
            if not isinstance(error, RuntimeFailedError) and not hasattr(error, "code"):
                raise

    async def _boot(self, version: Version, built: Built | None) -> Base:
        await asyncio.shield(self._machine.rung)
        if built is None:
            spec = host_spec(version, self._machine.lent_dir)
            base = Base(env=dict(spec.env), entrypoint=())
        else:
            spec = lending_spec(built, self._machine.lent_dir, block_network=version.block_network)
            base = Base(env=built_environment(built), entrypoint=built.entrypoint)
        leaves = self._machine.leaves
        cgroup = None
        try:
            cgroup = None if leaves is None else await leaves.make()
            spec = dataclasses.replace(spec, cgroup=cgroup, leaves=leaves)
            zygote = base.zygote = await self._machine.launcher.spawn_zygote(spec, ids.new_id("zy"))
        except (OSError, RuntimeFailedError) as error:
            if cgroup is not None:
                Leaves.remove(cgroup)
            raise RuntimeFailedError(str(error)) from error
        if cgroup is not None:
            zygote.exited.add_done_callback(lambda _: Leaves.remove(cgroup))
        _note_output(zygote)
        files = [
            (path, mode, bytes(await self._blobs.get(digest)))
            for path, mode, digest, _ in version.files
        ]
        await zygote.prepare(files, None, {}, timeout_s=PREPARE_TIMEOUT_S)
        return base


def _is_useless(found: asyncio.Future[Base]) -> bool:
    if not found.done():
        return False
    return found.exception() is not None or found.result().zygote.exited.done()


def _note_output(zygote: Zygote) -> None:
    """Log what a base prints: it should be nothing."""
    loop = asyncio.get_running_loop()

    def on_readable() -> None:
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(zygote.log_fd, READ_BYTES)
            if not data:
                loop.remove_reader(zygote.log_fd)
                os.close(zygote.log_fd)
        if data:
            log.warning("base_printed", extra={"fields": {"text": data.decode("utf-8", "replace")}})

    loop.add_reader(zygote.log_fd, on_readable)


def host_spec(version: Version, lent_dir: str) -> ZygoteSpec:
    """What the runtime needs to know of a base whose image is this machine."""
    spec = zygote_spec(version, "container", lent_dir)
    env = {name: value for name, value in spec.env.items() if not name.startswith("VOLANT_")}
    return dataclasses.replace(spec, env=env, is_for_sandboxes=True)


def lending_spec(built: Built, lent_dir: str, *, block_network: bool) -> ZygoteSpec:
    """What the runtime needs to know of a base of a built image: this daemon's Python runs it."""
    prefix = os.path.realpath(sys.base_prefix)
    program = os.path.join(prefix, "bin", f"python3.{sys.version_info.minor}")
    trees = ("/usr",) if f"{prefix}/".startswith("/usr/") else ("/usr", prefix)
    return ZygoteSpec(
        rung="container",
        python=os.path.realpath(program),
        trees=trees,
        layers=built.layers,
        workdir=built.workdir,
        sdk_dir=os.path.dirname(package_dir("volant")),
        cloudpickle_dir=package_dir("cloudpickle"),
        lent_dir=lent_dir,
        env={"HOME": "/root", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        block_network=block_network,
        is_for_sandboxes=True,
    )
