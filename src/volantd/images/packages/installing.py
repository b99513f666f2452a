"""One step that installs packages: from what it asks for to the layers that it leaves.

lent: uv, the task ─┐                          ┌─ aside ──────► the layer
the image ──────────┴─► inside.py, isolated ───┤
cache and aside, one mount ─────┘              └─ the overlay ► only what was removed
"""

from __future__ import annotations

import marshal
import os
import shutil
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from volant import ids
from volant.errors import ImageBuildError
from volant.runner.view.places import OWN_DIR
from volantd.images.packages import indexes, inside, tools
from volantd.patience import on_thread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from volantd.images.store import Record
    from volantd.images.workbench import Workbench

UV_DIR = OWN_DIR + "/uv"
CACHE_DIR = UV_DIR + "/cache"
#: Where a step lays what its layer is to be, below the directory that holds the cache as well.
OUT = "out"
#: Under which name a uv is kept for images in which the daemon's own does not load.
STATIC = "uv without libraries"
#: Variables that `Indexes.variables` says anew, under other names.
_SAID_ANEW = ("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_CONFIG_FILE", "UV_COMPILE_BYTECODE")
#: Which every Python can read.
_MARSHAL_VERSION = 2
_ENVIRONMENT = {
    "UV_CACHE_DIR": CACHE_DIR,
    "UV_TOOL_DIR": UV_DIR + "/tools",
    "UV_NO_CONFIG": "1",
    "UV_NO_PROGRESS": "1",
    "UV_PYTHON_DOWNLOADS": "never",
    "UV_INDEX_STRATEGY": "unsafe-best-match",  # as pip: the best of all indexes
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a step installs.

    Attributes:
        what: it as people know it, for errors.
        arguments: of `uv pip install`.
        before: commands that come first; a first word `uv` is replaced.
        files: what lies in `tools.TASK_DIR`, by name.
        env: variables beside those of the image and the step.
        uv_version: of the uv that installs; None for the daemon's own.
    """

    what: str
    arguments: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    uv_version: str | None = None


async def install(task: Task, step: Mapping[str, Any], bench: Workbench) -> Record:
    """Build a step that installs; returns the image up to it.

    Raises:
        ImageBuildError: with what uv said.
    """
    out = ids.new_id("in")
    bench.store.caches.use_uv()
    installed = os.path.join(bench.store.caches.uv, OUT, out)
    bench.places.add(installed)
    try:
        try:
            return await _attempt(task, step, bench, out, tools.own_uv())
        except ImageBuildError:
            if not await on_thread(_has, bench.store.caches.uv, out, "static"):
                raise
        await on_thread(_discard, bench.store.caches.uv, out)
        home = await on_thread(bench.store.caches.directory, STATIC)
        static = await tools.static_uv(home)
        return await _attempt(task, step, bench, out, static)
    finally:
        bench.places.discard(installed)
        await on_thread(_discard, bench.store.caches.uv, out)


async def _attempt(
    task: Task, step: Mapping[str, Any], bench: Workbench, out: str, program: str
) -> Record:
    secrets = bench.brought.secrets.get("secrets", {})
    own = {**bench.env, **task.env, **secrets, **(step.get("env") or {})}
    machine, places = indexes.shown(await on_thread(indexes.of_machine))
    said = indexes.of_step(step).over(indexes.of_variables(own)).beside(machine)
    env = {**indexes.way_out(), **tools.variables(), **own, **_ENVIRONMENT, **said.variables()}
    files = {**task.files, "plan": _plan(task, out), "inside.py": await _driver()}
    texts = (*env.values(), task.what, *(_text(content) for content in task.files.values()))
    hidden = indexes.credentials(texts, secrets.values())
    async with bench.scratch() as lower:
        points = (UV_DIR, *places)
        await on_thread(tools.lend, lower, program, files, points)
        async with bench.new_layer() as place:
            await bench.run(
                place,
                (bench.python, "-I", f"{tools.TASK_DIR}/inside.py", f"{tools.TASK_DIR}/plan"),
                what=task.what,
                env=env,
                layers=(*bench.layers, lower),
                cwd=tools.TASK_DIR,
                shared=((bench.store.caches.uv, UV_DIR),),
                readable=tuple((source, point) for point, source in places.items()),
                hidden=hidden,
            )
            layers = await _take(bench, out, os.path.join(place, "diff"))
    return bench.below.with_layers(*layers, bench.key)


def _plan(task: Task, out: str) -> bytes:
    command = [tools.UV]
    if task.uv_version is not None:
        command += ["tool", "run", "--quiet", "--from", f"uv=={task.uv_version}", "uv"]
    before = [(*command, *words[1:]) if words[0] == "uv" else words for words in task.before]
    plan = {
        "uv": tuple(command), "arguments": task.arguments, "before": tuple(before),
        "cache": CACHE_DIR, "out": f"{UV_DIR}/{OUT}/{out}", "unset": _SAID_ANEW,
    }  # fmt: skip
    return marshal.dumps(plan, _MARSHAL_VERSION)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


async def _driver() -> bytes:
    def read() -> bytes:
        with open(inside.__file__, "rb") as source:
            return source.read()

    return await on_thread(read)


async def _take(bench: Workbench, out: str, diff: str) -> list[str]:
    """Make what was installed the step's layer; returns the layers that come below it."""
    shutil.rmtree(diff + OWN_DIR, ignore_errors=True)
    if await on_thread(_has, bench.store.caches.uv, out, "plain"):
        return []
    removed = []
    if await on_thread(_has, bench.store.caches.uv, out, "removed"):
        removed.append(f"{bench.key}-removed")
        async with bench.new_layer(removed[0]) as place:
            target = os.path.join(place, "diff")
            os.rmdir(target)
            os.rename(diff, target)
    await on_thread(_replace, bench.store.caches.uv, out, diff)
    return removed


# -- what steps write to: other steps may change it meanwhile, so no path is followed


def _open(uv: str, out: str) -> int:
    fd = os.open(uv, os.O_RDONLY | os.O_DIRECTORY)
    for name in (OUT, out):
        try:
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def _has(uv: str, out: str, name: str) -> bool:
    try:
        fd = _open(uv, out)
    except OSError:
        return False
    try:
        os.lstat(name, dir_fd=fd)
    except FileNotFoundError:
        return False
    finally:
        os.close(fd)
    return True


def _replace(uv: str, out: str, diff: str) -> None:
    shutil.rmtree(diff, ignore_errors=True)
    fd = _open(uv, out)
    try:
        os.rename("root", diff, src_dir_fd=fd)
    finally:
        os.close(fd)
    if not stat.S_ISDIR(os.lstat(diff).st_mode):
        os.unlink(diff)
        raise ImageBuildError("what a step installed is no directory: another step changed it")


def _discard(uv: str, out: str) -> None:
    try:
        fd = os.open(os.path.join(uv, OUT), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return
    try:
        shutil.rmtree(out, ignore_errors=True, dir_fd=fd)
    finally:
        os.close(fd)
