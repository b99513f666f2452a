"""Bases: what sandboxes are forked from, one for each image in use.

    image ──► base: a zygote of this daemon's own Python, whose containers see the image alone
      ▲          └──FORK──► sandbox
      └── shown to a blank one, if one was made ahead (see `ahead`)

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
from functools import partial
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.runner.isolate import LAYERS_AHEAD
from volantd.agent.bare import built_environment, zygote_spec
from volantd.agent.sandboxes.ahead import Ahead
from volantd.images import described
from volantd.lent import package_dir, without_names
from volantd.runtime.client import RuntimeFailedError, ZygoteSpec
from volantd.runtime.seat import Leaves

if TYPE_CHECKING:
    from collections.abc import Callable

    from volant.config import Config
    from volantd.agent.images import Images
    from volantd.agent.tasks import Tasks
    from volantd.agent.zygotes import ZygoteStore
    from volantd.hub.blobs import BlobCache
    from volantd.hub.records import Version
    from volantd.images.builder import Built
    from volantd.runtime.client import Zygote
    from volantd.runtime.sandboxes.sidecars import Beside

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
    #: of a sidecar: beside whom it is forked, from the base of that
    beside: Beside | None = None


class Bases:
    """The bases of this machine."""

    def __init__(
        self, config: Config, zygotes: ZygoteStore, images: Images, blobs: BlobCache, tasks: Tasks
    ) -> None:
        self._machine = zygotes.machine
        self.images = images
        self._blobs = blobs
        self._tasks = tasks
        self._known: OrderedDict[str, asyncio.Future[Base]] = OrderedDict()
        self.ahead = Ahead(
            zygotes, tasks, holder_count=int(config.number("sandboxes_ahead")),
            idle_s=config.number("sandboxes_ahead_s"), boot=self._boot_blank,
            on_idle=partial(self._evict, None, 0),
        )  # fmt: skip

    async def get(
        self, version: Version, say: Callable[[bytes], None], runsc: str | None = None
    ) -> Base:
        """The base of a version's image.

        Args:
            version: its image, the files that come with that, and whether there is a network.
            say: hears what is printed while the image is built.
            runsc: the program of gVisor, on which its sandboxes run; None for none.

        Raises:
            ImageBuildError: when the image cannot be built.
            RuntimeFailedError: when there can be no base.
        """
        files = sorted(map(list, version.files))
        key = repr((described.identity(version.image), files, version.block_network, runsc))
        found = self._known.get(key)
        if found is None or _is_useless(found):
            found = self._known[key] = asyncio.get_running_loop().create_future()
            self._tasks.start(self._make(version, say, runsc, found), "make-base")
        self._known.move_to_end(key)
        base = await asyncio.shield(found)
        self._evict(base, IDLE_MAX)
        if runsc is None:
            self.ahead.expect(base)
        else:
            self.ahead.note_use()
        return base

    def _evict(self, wanted: Base | None, kept_count: int) -> None:
        """End idle bases that were used longest ago, but for some of them and the one wanted."""
        idle = [
            key
            for key, one in self._known.items()
            if _is_useless(one) or (one.done() and not one.result().in_use)
        ]
        for key in idle[: max(0, len(idle) - kept_count)]:
            found = self._known[key]
            if not _is_useless(found):
                if found.result() is wanted:
                    continue
                found.result().zygote.kill()
            del self._known[key]

    async def _make(
        self, version: Version, say: Callable[[bytes], None], runsc: str | None,
        made: asyncio.Future[Base],
    ) -> None:  # fmt: skip
        try:
            if version.image["kind"] == "host":
                base = await self._boot(version, None, runsc)
            else:
                async with self.images.use(version, say) as built:
                    base = await self._boot(version, built, runsc)
            made.set_result(base)
        except Exception as error:
            made.set_exception(error)
            made.exception()  # whoever waits gets it
            if not isinstance(error, RuntimeFailedError) and not hasattr(error, "code"):
                raise

    async def _boot(self, version: Version, built: Built | None, runsc: str | None) -> Base:
        await asyncio.shield(self._machine.rung)
        blank = None
        if built is None:
            spec = self._host_spec(version.image, version)
            base = Base(env=dict(spec.env), entrypoint=())
        else:
            empty = self._blank_spec(built.machine, version)
            spec = dataclasses.replace(
                empty, layers=built.layers, workdir=built.workdir, is_blank=False
            )
            env = built_environment(built) if built.machine is None else {**spec.env, **built.env}
            base = Base(env=env, entrypoint=built.entrypoint)
            if runsc is None:
                blank = await self._shown(empty, spec)
        base.zygote = blank or await self._spawn(dataclasses.replace(spec, runsc=runsc))
        try:
            if blank is None or version.files:
                files = await self.files_of(version)
                await base.zygote.prepare(files, None, {}, timeout_s=PREPARE_TIMEOUT_S)
        except BaseException:
            base.zygote.kill()  # nobody would know it
            raise
        return base

    async def files_of(self, version: Version) -> list[tuple[str, int, bytes]]:
        """The files that come with an image: path, mode and content each."""
        return [
            (path, mode, bytes(await self._blobs.get(digest)))
            for path, mode, digest, _ in version.files
        ]

    def expect_snapshot(self, version: Version) -> None:
        """Be ready for a base of what a snapshot of a sandbox will be."""
        image = version.image
        if image["kind"] == "host":
            self.ahead.expect_blank(self._blank_spec(image, version))

    def _host_spec(self, image: dict[str, Any], version: Version) -> ZygoteSpec:
        """What the runtime needs to know of a base that shows this machine."""
        spec = zygote_spec(
            image, "container", self._machine.lent_dir, block_network=version.block_network
        )
        return dataclasses.replace(spec, env=without_names(spec.env), is_for_sandboxes=True)

    def _blank_spec(self, machine: dict[str, Any] | None, version: Version) -> ZygoteSpec:
        """The same of one that is told its image later, which lies over this machine if it does."""
        if machine is None:
            spec = lending_spec(self._machine.lent_dir, block_network=version.block_network)
        else:
            spec = self._host_spec(machine, version)
        return dataclasses.replace(spec, is_blank=True, is_over_machine=machine is not None)

    async def _shown(self, empty: ZygoteSpec, spec: ZygoteSpec) -> Zygote | None:
        """A base that was blank and shows an image now; None where there is none for it."""
        if len(spec.layers) > LAYERS_AHEAD:
            return None
        blank = self.ahead.blank(empty)
        if blank is None:
            return None
        try:
            await blank.show(spec.layers, spec.workdir)
        except RuntimeFailedError as error:  # one of the image's own may do, or says why not
            log.warning("not_shown", extra={"fields": {"error": str(error)}})
            blank.kill()
            return None
        return blank

    async def _boot_blank(self, spec: ZygoteSpec) -> Zygote:
        """A base that is told its image later."""
        zygote = await self._spawn(spec)
        await zygote.prepare([], None, {}, timeout_s=PREPARE_TIMEOUT_S)
        return zygote

    async def _spawn(self, spec: ZygoteSpec) -> Zygote:
        leaves = self._machine.leaves
        cgroup = None
        try:
            cgroup = None if leaves is None else await leaves.make()
            spec = dataclasses.replace(spec, cgroup=cgroup, leaves=leaves)
            zygote = await self._machine.launcher.spawn_zygote(spec, ids.new_id("zy"))
        except (OSError, RuntimeFailedError) as error:
            if cgroup is not None:
                Leaves.remove(cgroup)
            raise RuntimeFailedError(str(error)) from error
        if cgroup is not None:
            zygote.exited.add_done_callback(lambda _: Leaves.remove(cgroup))
        _note_output(zygote)
        return zygote


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


def lending_spec(lent_dir: str, *, block_network: bool) -> ZygoteSpec:
    """What the runtime needs to know of a base besides its image: this daemon's Python runs it."""
    prefix = os.path.realpath(sys.base_prefix)
    program = os.path.join(prefix, "bin", f"python3.{sys.version_info.minor}")
    trees = ("/usr",) if f"{prefix}/".startswith("/usr/") else ("/usr", prefix)
    return ZygoteSpec(
        rung="container",
        python=os.path.realpath(program),
        trees=trees,
        sdk_dir=os.path.dirname(package_dir("volant")),
        cloudpickle_dir=package_dir("cloudpickle"),
        lent_dir=lent_dir,
        env={"HOME": "/root", "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1"},
        block_network=block_network,
        is_for_sandboxes=True,
    )
