"""Steps that need no more than the image itself: commands, copied files, and settings."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from volant.errors import ImageBuildError
from volantd.images.files import put
from volantd.images.kept import tree
from volantd.images.steps import kind
from volantd.images.steps.kind import Kind
from volantd.images.store import Record
from volantd.patience import on_thread

if TYPE_CHECKING:
    from volantd.images.workbench import Blob, Workbench

#: All files of a copy have this time, so that equal content makes equal layers.
COPY_TIME_S = 1


async def _scratch(step: dict[str, Any], bench: Workbench) -> Record:
    return Record()


async def _run(step: dict[str, Any], bench: Workbench) -> Record:
    line = " && ".join(step["commands"])
    async with bench.new_layer() as place:
        argv = (*bench.below.settings.shell, line)
        volumes = step.get("volumes", ())
        await bench.run(place, argv, what=line, env=step.get("env"), volumes=volumes)
    return bench.below.with_layers(bench.key)


async def _copy(step: dict[str, Any], bench: Workbench) -> Record:
    async with bench.new_layer() as place:
        for path, mode, digest, _ in step["files"]:
            content = await bench.content(digest)
            await on_thread(_write, place, list(bench.layers), path, content, mode)
    return bench.below.with_layers(bench.key)


def _write(place: str, layers: list[str], path: str, content: Blob, mode: int) -> None:
    """Put a file into a layer, where its path leads through the links of the image.

    Raises:
        ImageBuildError: when the path leads nowhere.
    """
    found = tree.find(layers, os.path.dirname(path))
    if found is None:
        raise ImageBuildError(f"{path} cannot be copied: its directory is a circle of links")
    target = os.path.join(place, "diff" + found, os.path.basename(path))
    put(target, content, mode)
    os.utime(target, (COPY_TIME_S, COPY_TIME_S))


async def _workdir(step: dict[str, Any], bench: Workbench) -> Record:
    """Set the working directory; a layer makes it where the image has none."""
    settings, path, layers = bench.below.settings.after(step), step["path"], bench.layers
    found, node = tree.find(layers, path), tree.at(tree.root(layers), path)
    if found is None:
        raise bench.failure(f"{path} cannot be a working directory: it is a circle of links")
    if node is not None and node.is_directory:
        return replace(bench.below, settings=settings)
    async with bench.new_layer() as place:
        os.makedirs(os.path.join(place, "diff") + found, 0o755)
    return replace(bench.below.with_layers(bench.key), settings=settings)


async def _set(step: dict[str, Any], bench: Workbench) -> Record:
    return replace(bench.below, settings=bench.below.settings.after(step))


def _check_run(step: dict[str, Any]) -> None:
    kind.words(step, "commands")
    kind.surroundings(step)
    kind.volumes(step)


def _check_copy(step: dict[str, Any]) -> None:
    kind.files(step, "files")


def _check_env(step: dict[str, Any]) -> None:
    kind.variables(step["variables"])


def _check_words(step: dict[str, Any]) -> None:
    kind.words(step, "words")


def _check_shell(step: dict[str, Any]) -> None:
    if not kind.words(step, "words"):
        raise ValueError("a shell without a program")


def _check_workdir(step: dict[str, Any]) -> None:
    if step["path"] != "/":
        kind.absolute_path(step["path"])


def _check_nothing(step: dict[str, Any]) -> None:
    """It has no fields."""


KINDS = {
    "scratch": Kind(_check_nothing, _scratch, is_base=True, is_step=False),
    "run": Kind(_check_run, _run),
    "copy": Kind(_check_copy, _copy),
    "env": Kind(_check_env, _set),
    "shell": Kind(_check_shell, _set),
    "workdir": Kind(_check_workdir, _workdir),
    "cmd": Kind(_check_words, _set),
    "entrypoint": Kind(_check_words, _set),
}
