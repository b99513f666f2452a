"""Packages of Debian as a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from volantd.images.debian.installing import install
from volantd.images.steps import kind
from volantd.images.steps.kind import Kind

if TYPE_CHECKING:
    from volantd.images.store import Record
    from volantd.images.workbench import Workbench


async def _build(step: dict[str, Any], bench: Workbench) -> Record:
    async with bench.new_layer() as place:
        await install(bench, place, step["packages"], layers=bench.layers, env=step.get("env"))
    return bench.below.with_layers(bench.key)


def _check(step: dict[str, Any]) -> None:
    for name in kind.words(step, "packages"):
        if not name or name.startswith("-") or any(map(str.isspace, name)):
            raise ValueError(f"{name[:200]!r} is no package of Debian")
    kind.surroundings(step)


KINDS = {"apt": Kind(_check, _build)}
