"""Packages of conda: a base with micromamba and a Python, and the step that installs more.

Debian ─► micromamba ─► /opt/conda, an environment that all programs of the image find
"""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from volantd.images.conda.program import PROGRAM, program_layer
from volantd.images.files import put
from volantd.images.keys import FORCE
from volantd.images.steps import kind
from volantd.images.steps.debian import debian_base
from volantd.images.steps.kind import Kind
from volantd.images.workbench import PATH
from volantd.patience import on_thread

if TYPE_CHECKING:
    from volantd.images.store import Record
    from volantd.images.workbench import Workbench

#: The environment of an image.
PREFIX = "/opt/conda"
#: What micromamba keeps for itself while it works.
_ROOT = "/tmp/micromamba"  # noqa: S108  # in the step's own root, and removed by it
#: Where packages are looked for when nothing was said.
CHANNEL_DEFAULT = "conda-forge"
ENV = {"PATH": f"{PREFIX}/bin:{PATH}", "CONDA_PREFIX": PREFIX}
_SPEC_PLACE = "/tmp/specs"  # noqa: S108  # in the step's own root
#: Functions are run by what lies here.
_LINKS = f"mkdir -p /usr/local/bin && ln -sf {PREFIX}/bin/python3 /usr/local/bin/python3"


async def _build(step: dict[str, Any], bench: Workbench) -> Record:
    debian = await debian_base(bench, anew=bool(step.get(FORCE)))
    below = debian.with_layers(await program_layer(bench))
    bench = bench.on(replace(below, settings=replace(below.settings, env=_env(below))))
    async with bench.new_layer() as place:
        await _mamba(bench, place, "create", [f"python={step['python']}", "pip"], [], then=_LINKS)
    return bench.below.with_layers(bench.key)


def _env(below: Record) -> dict[str, str]:
    return {**below.settings.env, **ENV}


async def _install(step: dict[str, Any], bench: Workbench) -> Record:
    words = list(step["packages"])
    async with bench.scratch() as specs, bench.new_layer() as place:
        if step["spec_file"] is not None:
            name = await _write_spec(bench, specs, step["spec_file"])
            words += ["--file", f"{_SPEC_PLACE}/{name}"]
        await _mamba(
            bench, place, "install", words, step["channels"],
            env=step.get("env"), shared=((specs, _SPEC_PLACE),),
        )  # fmt: skip
    return bench.below.with_layers(bench.key)


async def _write_spec(bench: Workbench, specs: str, digest: str) -> str:
    """Put a file of specifications where a step sees it; its name there, which tells its form."""
    content = bytes(await bench.content(digest))
    is_yaml = any(line.startswith(b"dependencies:") for line in content.splitlines())
    name = "specs.yml" if is_yaml else "specs.txt"
    await on_thread(put, os.path.join(specs, name), content)
    return name


async def _mamba(
    bench: Workbench, place: str, verb: str, words: list[str], channels: list[str],
    *, then: str = "true", env: dict[str, str] | None = None,
    shared: tuple[tuple[str, str], ...] = (),
) -> None:  # fmt: skip
    """Run micromamba in a step."""
    looked = channels or [bench.choice("image_conda_channel") or CHANNEL_DEFAULT]
    options = [word for channel in looked for word in ("--channel", channel)]
    argv = [PROGRAM, verb, "--yes", "--prefix", PREFIX, "--override-channels", *options, *words]
    script = f"{shlex.join(argv)} && rm -rf {_ROOT} && {then}"
    await bench.run(
        place, ("/bin/sh", "-c", script), what=f"micromamba {verb} {' '.join(words)}",
        env={**(env or {}), "MAMBA_ROOT_PREFIX": _ROOT, "CONDA_PKGS_DIRS": f"{_ROOT}/pkgs"},
        shared=shared, cwd="/",
    )  # fmt: skip


def _check(step: dict[str, Any]) -> None:
    kind.series(step["python"])


def _check_install(step: dict[str, Any]) -> None:
    for word in [*kind.words(step, "packages"), *kind.words(step, "channels")]:
        if not word or word.startswith("-"):
            raise ValueError(f"{word[:200]!r} is neither a package nor a channel of conda")
    if step["spec_file"] is not None:
        kind.digest(step["spec_file"])
    kind.surroundings(step)


KINDS = {
    "micromamba": Kind(_check, _build, is_base=True, is_step=False),
    "micromamba_install": Kind(_check_install, _install),
}
