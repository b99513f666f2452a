"""Steps of a whole project's dependencies: what uv or Poetry has locked, not the project itself.

Both are exported to a list of exact versions, which is installed like any other.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from volant.errors import ImageBuildError
from volantd.fields import optional, switch, text
from volantd.images.packages.installing import UV_DIR, Task, install
from volantd.images.steps import kind
from volantd.images.steps.kind import Kind

if TYPE_CHECKING:
    from volantd.images.store import Record
    from volantd.images.workbench import Workbench

#: Options of `uv sync` that `uv export` knows by another name.
_OTHER_NAMES = ("--no-install-", "--no-emit-")
_POETRY = {
    "POETRY_CACHE_DIR": UV_DIR + "/poetry",
    "POETRY_CONFIG_DIR": UV_DIR + "/poetry",
    "POETRY_DATA_DIR": UV_DIR + "/poetry",
    "POETRY_VIRTUALENVS_CREATE": "false",
    "POETRY_NO_INTERACTION": "1",
}


async def _files(step: dict[str, Any], bench: Workbench, lock: str) -> dict[str, bytes]:
    files = {"pyproject.toml": bytes(await bench.content(step["pyproject"]))}
    if step["lock"] is not None:
        files[lock] = bytes(await bench.content(step["lock"]))
    return files


# -- uv


async def _uv_sync(step: dict[str, Any], bench: Workbench) -> Record:
    words = ["--format", "pylock.toml", "--output-file", "pylock.toml", "--no-emit-project"]
    if step["frozen"] and step["lock"] is not None:
        words.append("--frozen")
    for name in ("group", "extra"):
        words += [word for value in step[f"{name}s"] for word in (f"--{name}", value)]
    words += [word.replace(*_OTHER_NAMES) for word in shlex.split(step["extra_options"])]
    task = Task(
        what="uv sync",
        before=(("uv", "export", "--quiet", "--python", bench.python, *words),),
        arguments=("--requirements", "pylock.toml"),
        files=await _files(step, bench, "uv.lock"),
        uv_version=step.get("uv_version"),
    )
    return await install(task, step, bench)


def _check_uv_sync(step: dict[str, Any]) -> None:
    _check_project(step)
    for name in ("groups", "extras"):
        _names(step, name)
    switch(step, "frozen")
    shlex.split(text(step, "extra_options"))
    if "uv_version" in step:
        kind.version(step, "uv_version")


# -- Poetry


async def _poetry(step: dict[str, Any], bench: Workbench) -> Record:
    files = await _files(step, bench, "poetry.lock")
    words = _exported_groups(files["pyproject.toml"], step)
    poetry: tuple[str, ...] = ("poetry",)
    if step["poetry_version"] is not None:
        asked = step["poetry_version"]
        package = "poetry" if asked == "latest" else f"poetry=={asked}"
        poetry = (
            "uv", "tool", "run", "--python", bench.python, "--from", package,
            "--with", "poetry-plugin-export", "python", "-m", "poetry",
        )  # fmt: skip
    export = ("export", "--format", "requirements.txt", "--output", "requirements.txt")
    commands = [(*poetry, *export, *words)]
    if step["lock"] is None:
        commands.insert(0, (*poetry, "lock"))
    task = Task(
        what="poetry install",
        before=tuple(commands),
        arguments=("--no-deps", "--requirements", "requirements.txt"),
        files=files,
        env=_POETRY,
    )
    return await install(task, step, bench)


def _exported_groups(pyproject: bytes, step: dict[str, Any]) -> list[str]:
    """Options of `poetry export` for the groups that `poetry install` would install."""
    import tomllib

    if step["only"]:
        return ["--only", ",".join(step["only"])]
    try:
        tables = tomllib.loads(pyproject.decode())
        poetry = tables.get("tool", {}).get("poetry", {})
        groups = {
            name for name, group in poetry.get("group", {}).items() if not group.get("optional")
        } | set(tables.get("dependency-groups", {}))
    except (ValueError, AttributeError, TypeError) as error:
        raise ImageBuildError(f"the `pyproject.toml` is no project of Poetry: {error}") from error
    if "dev-dependencies" in poetry:
        groups.add("dev")
    without = {*step["without"]}
    chosen = sorted((groups | {*step["with"]}) - without)
    words = ["--with", ",".join(chosen)] if chosen else []
    return [*words, "--without", "main"] if "main" in without else words


def _check_poetry(step: dict[str, Any]) -> None:
    _check_project(step)
    for name in ("with", "without", "only"):
        _names(step, name)
    if step["poetry_version"] is not None:
        kind.version(step, "poetry_version")
    switch(step, "old_installer")


def _check_project(step: dict[str, Any]) -> None:
    kind.surroundings(step)
    kind.digest(step["pyproject"])
    optional(_digest, step, "lock")


def _digest(step: dict[str, Any], name: str) -> None:
    kind.digest(step[name])


def _names(step: dict[str, Any], name: str) -> None:
    for word in kind.words(step, name):
        if word.startswith("-"):
            raise ValueError(f"{word[:200]!r} of `{name}` is an option")


KINDS = {"uv_sync": Kind(_check_uv_sync, _uv_sync), "poetry": Kind(_check_poetry, _poetry)}
