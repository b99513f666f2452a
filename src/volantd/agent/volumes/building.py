"""The volumes of build steps: mounted while a command runs, committed when it has ended.

    command of a step ─► views ─► mounted by the launcher ─► it runs ─► commit ─► the step goes on

What a command wrote that failed is committed as well; what one wrote that was given up is not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from volant.errors import ImageBuildError
from volantd.agent.volumes.mounted import row_of
from volantd.core.volumes.entries import parts_of
from volantd.hub.volumes.answering import KIND, in_words

if TYPE_CHECKING:
    from volantd.hub.hub import Hub
    from volantd.images.workbench import Command, RunCommand, Say
    from volantd.volumes.mounts import Mount
    from volantd.volumes.service import Volumes

_MADE_BY = "image build"


class StepVolumes:
    """Runs commands of steps with the volumes that these name.

    Args:
        run: runs them, with what is mounted.
    """

    def __init__(self, hub: Hub, volumes: Volumes, run: RunCommand) -> None:
        self._hub = hub
        self._volumes = volumes
        self._run = run

    async def __call__(self, command: Command, say: Say, /) -> int:
        """Run a command to its end; its exit code, as a shell would tell it.

        Raises:
            ImageBuildError: when it cannot be started, or what it wrote cannot be kept.
        """
        if not command.volumes:
            return await self._run(command, say)
        mounts: list[Mount] = []
        try:
            for wanted in sorted(command.volumes, key=lambda one: one["path"].count("/")):
                mounts.append(await self._open(wanted))  # noqa: PERF401  # each is closed
            rows = tuple(row_of(mount, mount.view) for mount in mounts)
            code = await self._run(replace(command, mounts=rows), say)
            for mount in mounts:
                await self._commit(mount, say)
            return code
        finally:
            for mount in mounts:
                await self._volumes.mounts.close(mount)

    async def _open(self, wanted: dict[str, Any]) -> Mount:
        try:
            await self._volumes.opened
            await self._hub.objects.opened
            self._hub.objects.find(KIND, wanted["volume"])
            return await self._volumes.mounts.open(
                wanted["volume"], wanted["path"], parts_of(wanted["sub_path"]),
                read_only=wanted["read_only"], made_by=_MADE_BY,
            )  # fmt: skip
        except Exception as error:
            told = in_words(error)
            raise ImageBuildError(f"{wanted['path']}: {told.message}", hint=told.hint) from error

    async def _commit(self, mount: Mount, say: Say) -> None:
        try:
            self._hub.objects.find(KIND, mount.volume_id)
            _, passed_over = await self._volumes.mounts.commit(
                mount, action="while an image was built", is_still=True
            )
        except Exception as error:
            told = in_words(error)
            raise ImageBuildError(
                f"what was written to {mount.target} is lost: {told.message}", hint=told.hint
            ) from error
        if passed_over:
            names = ", ".join(map(repr, passed_over))
            line = f"volant: {names} in {mount.target} cannot be kept in a volume\n"
            say(line.encode("utf-8", "replace"))
