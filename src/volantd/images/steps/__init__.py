"""The kinds of steps that images are made of, each checked and built by a module of its own."""

from __future__ import annotations

from volantd.images.steps import (
    apt,
    conda,
    debian,
    dockerfile,
    function,
    lookup,
    packages,
    plain,
    projects,
    registry,
)  # fmt: skip
from volantd.images.steps.kind import Kind

#: All that this daemon can build.
KINDS: dict[str, Kind] = {
    **apt.KINDS,
    **conda.KINDS,
    **debian.KINDS,
    **dockerfile.KINDS,
    **function.KINDS,
    **lookup.KINDS,
    **packages.KINDS,
    **plain.KINDS,
    **projects.KINDS,
    **registry.KINDS,
}

__all__ = ["KINDS", "Kind"]
