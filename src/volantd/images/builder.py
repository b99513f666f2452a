"""Builds images: one step after the other, each once however many ask for it, none twice.

    steps ──► keys ──► the last one that is here ──► build what follows ──► records ──► Built

What a step prints goes into its log, and to everybody who waits for it. A step that fails, or is
broken off, leaves nothing but its log.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from volantd.images.keys import first_forced, image_id, keys_of
from volantd.images.once import Once
from volantd.images.steps import KINDS
from volantd.images.store import Record
from volantd.images.workbench import Brought, Workbench, find_python

if TYPE_CHECKING:
    from collections.abc import Mapping

    from volantd.images.store import Store
    from volantd.images.workbench import Content, RunCommand, Say

NOTHING = Brought()


@dataclass(frozen=True, slots=True)
class Built:
    """An image that is here.

    Attributes:
        image_id: of it.
        layers: directories, the lowest first.
        env: its variables.
        python: its interpreter, by a path in the image.
        workdir: where its containers start; None for where they start anyway.
        entrypoint: what starts before the interpreter, if anything.
    """

    image_id: str
    layers: tuple[str, ...]
    env: dict[str, str]
    python: str
    workdir: str | None = None
    entrypoint: tuple[str, ...] = ()


class Builder:
    """Builds the images of one daemon.

    Args:
        store: where they lie.
        run: runs the commands of steps.
        content: gives the content of a file that the client sent, by its digest.
        choices: the settings of the daemon, by name.
    """

    def __init__(
        self,
        store: Store,
        run: RunCommand,
        content: Content,
        choices: Mapping[str, object] | None = None,
    ) -> None:
        self._store = store
        self._run = run
        self._content = content
        self._choices = choices or {}
        self._steps: Once[Record] = Once()
        self._shared: Once[str] = Once()

    async def build(
        self,
        steps: list[dict[str, Any]],
        say: Say,
        brought: Brought = NOTHING,
    ) -> Built:
        """The image of these steps, built as far as it is not here.

        Args:
            steps: checked descriptions, the base first.
            say: hears what the build prints.
            brought: what it may need beside them.

        Raises:
            ImageBuildError: with the last lines of the step that failed.
        """
        keys = keys_of(steps)
        index, record = self._find(keys, first_forced(steps))
        for position in range(index + 1, len(steps)):
            step = steps[position]
            say(f"volant: step {position + 1} of {len(steps)}: {step['kind']}\n".encode())
            given = brought.for_step(position)
            work = partial(self._step, keys[position], step, record, given)
            record = await self._steps.get(keys[position], work, say)
        return self._built(keys[-1], record)

    def _find(self, keys: list[str], end: int) -> tuple[int, Record]:
        """The last step before `end` that is built already, and its record."""
        for index in range(end - 1, -1, -1):
            record = self._store.record(keys[index])
            if record is not None:
                return index, record
        return -1, Record()

    def _built(self, key: str, record: Record) -> Built:
        layers = tuple(map(self._store.layer_path, record.layers))
        settings = record.settings
        return Built(
            image_id(key), layers, settings.env, find_python(layers), settings.workdir,
            settings.entrypoint,
        )  # fmt: skip

    async def _step(
        self, key: str, step: dict[str, Any], below: Record, brought: Brought, say: Say
    ) -> Record:
        with self._store.open_log(key) as log:

            def note(data: bytes) -> None:
                log.write(data)
                say(data)

            bench = Workbench(
                key, self._store, below, run=self._run, content=self._content, brought=brought,
                say=note, shared=self._shared, choices=self._choices,
            )  # fmt: skip
            record = await KINDS[step["kind"]].build(step, bench)
        self._store.write_record(key, record)
        return record
