"""Debian with a Python as base."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from volantd.images.debian.bootstrap import debian_layer
from volantd.images.debian.sources import suite_here
from volantd.images.keys import FORCE
from volantd.images.pythons.layer import python_layer, suite_for
from volantd.images.steps import kind
from volantd.images.steps.kind import Kind
from volantd.images.steps.registry import pulled
from volantd.images.store import Record

if TYPE_CHECKING:
    from volantd.images.workbench import Workbench

#: What programs of the image find in their environment: texts are UTF-8.
ENV = {"LANG": "C.UTF-8"}


async def _build(step: dict[str, Any], bench: Workbench) -> Record:
    return await debian_with_python(bench, step["python"], anew=bool(step.get(FORCE)))


async def debian_with_python(bench: Workbench, series: str, *, anew: bool) -> Record:
    """Debian with a Python of a series.

    Raises:
        ImageBuildError: when either cannot be had.
    """
    debian = await debian_base(bench, series, anew=anew)
    python = await python_layer(bench, series, debian.layers, anew=anew)
    return debian.with_layers(python)


async def debian_base(bench: Workbench, series: str | None = None, *, anew: bool) -> Record:
    """Debian without a Python, of a mirror or of the registry that a setting names.

    Args:
        series: of the Python that is to come onto it; None for what brings its own.
        anew: make it again.

    Raises:
        ImageBuildError: when neither can be had.
    """
    reference = bench.choice("image_debian_reference")
    if reference:
        record = await pulled(reference, bench)
    else:
        suite = suite_here() if series is None else await suite_for(bench, series)
        record = Record((await debian_layer(bench, suite, anew=anew),))
    settings = replace(record.settings, env={**ENV, **record.settings.env})
    return Record(record.layers, settings)


def _check(step: dict[str, Any]) -> None:
    kind.series(step["python"])


KINDS = {"debian_slim": Kind(_check, _build, is_base=True, is_step=False)}
