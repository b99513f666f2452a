"""The images of this machine: built when a zygote needs one, by processes of the launcher."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from volant import ids
from volant.errors import ImageBuildError
from volantd.images import described
from volantd.images.builder import Builder, Built
from volantd.images.store import Store
from volantd.images.workbench import Brought
from volantd.runtime.cgroup import Limits
from volantd.runtime.client import RuntimeFailedError, StepSpec
from volantd.runtime.seat import Leaves

if TYPE_CHECKING:
    from volant.config import Config
    from volantd.agent.bare import Machine
    from volantd.hub.blobs import BlobCache
    from volantd.hub.records import Version
    from volantd.images.workbench import Command, Say
    from volantd.runtime.client import Step

READ_BYTES = 64 << 10


class Images:
    """Builds images, and knows where they lie."""

    def __init__(self, config: Config, machine: Machine, blobs: BlobCache) -> None:
        self._machine = machine
        self._store = Store(config.home)
        self._builder = Builder(self._store, self._run, blobs.get, config.values)
        self._is_open = False

    async def get(self, version: Version, say: Say) -> Built:
        """The image of a version, built when it is not here.

        Raises:
            ImageBuildError: when a step fails, or this machine cannot build.
        """
        if await asyncio.shield(self._machine.rung) != "container" or os.geteuid() != 0:
            raise ImageBuildError(
                "images are built in containers, by a daemon that runs as root",
                hint="`volant server status` says what this machine lacks; Image.host() works",
            )
        try:
            if not self._is_open:
                self._store.open()
                self._is_open = True
            image = version.image
            brought = Brought(
                calls=image.get("calls", {}), files=version.files, entry=version.entry,
                all_secrets=image["secrets"],
            )  # fmt: skip
            return await self._builder.build(described.steps(image), say, brought)
        except (OSError, ValueError) as error:  # a full disk, or a record that somebody changed
            raise ImageBuildError(f"the images of this daemon cannot be used: {error}") from error

    async def _run(self, command: Command, say: Say) -> int:
        """Run a step to its end; its exit code, as a shell would tell it."""
        leaves = self._machine.leaves
        try:
            cgroup = None if leaves is None else await leaves.make()
            spec = StepSpec(
                layers=command.layers, output=command.output, argv=command.argv, env=command.env,
                cwd=command.cwd, shared=command.shared, readable=command.readable, cgroup=cgroup,
            )  # fmt: skip
            try:
                if cgroup is not None and (command.memory_mib or command.cpu_count):
                    await asyncio.to_thread(cgroup.limit, self._limits(command))
                step = await self._machine.launcher.spawn_step(spec, ids.new_id("bs"))
                return await _follow(step, say, command.timeout_s)
            finally:
                if cgroup is not None:
                    Leaves.remove(cgroup)
        except (OSError, RuntimeFailedError) as error:
            raise ImageBuildError(f"a build step could not be started: {error}") from error

    def _limits(self, command: Command) -> Limits:
        memory_bytes = None
        if command.memory_mib is not None:
            wanted = int(command.memory_mib * (1 << 20))
            memory_bytes = min(self._machine.memory_bytes, wanted)
        return Limits(memory_bytes=memory_bytes, cpu_count=command.cpu_count)


async def _follow(step: Step, say: Say, timeout_s: float) -> int:
    """Pass on what a step prints until it and everything that it started is gone."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def read() -> None:
        try:
            data = os.read(step.log_fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            say(data)
        elif not ended.done():
            loop.remove_reader(step.log_fd)
            ended.set_result(None)

    loop.add_reader(step.log_fd, read)
    try:
        async with asyncio.timeout(timeout_s):
            status = await asyncio.shield(step.exited)
            await ended  # all writers are dead, so this comes
    except TimeoutError:
        raise ImageBuildError(f"a build step took longer than {timeout_s:g} s") from None
    finally:
        step.kill()
        loop.remove_reader(step.log_fd)
        os.close(step.log_fd)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
