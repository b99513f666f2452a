"""The kinds of steps that images are made of, each checked and built by a module of its own.

A module is imported when an image has a step of its kind: a daemon that starts waits for none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from volantd.images.keys import LOOKED_UP

if TYPE_CHECKING:
    from volantd.images.steps.kind import Kind

#: All that this daemon can build, and the module that says how, in its `KINDS`.
MODULES = {
    LOOKED_UP: "lookup",
    "apt": "apt",
    "cmd": "plain",
    "copy": "plain",
    "debian_slim": "debian",
    "dockerfile": "dockerfile",
    "entrypoint": "plain",
    "env": "plain",
    "function": "function",
    "micromamba": "conda",
    "micromamba_install": "conda",
    "name": "lookup",
    "pip": "packages",
    "poetry": "projects",
    "private_repos": "packages",
    "registry": "registry",
    "run": "plain",
    "scratch": "plain",
    "shell": "plain",
    "uv_sync": "projects",
    "workdir": "plain",
}


def kind_of(name: str) -> Kind | None:
    """The kind of step that has a name; None for one that this daemon cannot build."""
    module = MODULES.get(name)
    if module is None:
        return None
    kinds: dict[str, Kind] = import_module(f"{__name__}.{module}").KINDS
    return kinds[name]
