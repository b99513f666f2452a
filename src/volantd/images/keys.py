"""What an image is made of, step by step: keys, and the settings that steps leave behind.

    key of a base = hash(builder version, step)      key of a step = hash(key before, step)

An image that was built before and begins another one keeps its key.
Pure: a step is the map that the client sent. Equal keys mean equal layers, so nothing that
differs between two machines may be in a step, and whatever changes a layer must be.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Part of every key: with a builder that makes other layers of the same steps, all are made anew.
BUILDER_VERSION = 1
#: Steps that are built anew are marked with it; it does not change what they make.
FORCE = "force"
#: The kind of base that stands for an image which is there, by its key.
LOOKED_UP = "id"
_ID_CHARS = 22


@dataclass(frozen=True, slots=True)
class Settings:
    """What later steps and containers are run with.

    Attributes:
        env: variables.
        shell: the words before a command line.
        workdir: where commands and containers start; None when nothing was said.
        entrypoint: what starts first in containers.
        cmd: what sandboxes run that name nothing.
    """

    env: dict[str, str] = field(default_factory=dict)
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    workdir: str | None = None
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()

    def after(self, step: Mapping[str, Any]) -> Settings:
        """The settings once a step that has no layer is applied."""
        kind = step["kind"]
        if kind == "env":
            return replace(self, env={**self.env, **step["variables"]})
        if kind == "workdir":
            return replace(self, workdir=step["path"])
        words: dict[str, Any] = {kind: tuple(step["words"])}  # shell, entrypoint, cmd
        return replace(self, **words)


def keys_of(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    """The key of each step."""
    keys: list[str] = []
    before = f"volant-image {BUILDER_VERSION}"
    for step in steps:
        if step["kind"] == LOOKED_UP:
            before = step["key"]
            keys.append(before)
            continue
        plain = {name: value for name, value in step.items() if name != FORCE}
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        before = hashlib.sha256(f"{before}\n{text}".encode()).hexdigest()
        keys.append(before)
    return keys


def first_forced(steps: Sequence[Mapping[str, Any]]) -> int:
    """The index of the first step that is to be built anew; their number when none is."""
    for index, step in enumerate(steps):
        if step.get(FORCE):
            return index
    return len(steps)


def image_id(key: str) -> str:
    """The id of the image whose last step has this key."""
    return f"im-{key[:_ID_CHARS]}"
